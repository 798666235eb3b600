-- An issuer is well when it can sign.
local result = { status = "Progressing", message = "not ready yet" }

for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Ready" then
    if condition.status == "True" then
      result = { status = "Healthy", message = condition.message or "" }
    else
      result = { status = "Degraded", message = condition.message or "it cannot sign" }
    end
  end
end
return result
