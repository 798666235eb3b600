-- A certificate is well when it is there; while a new one is issued the old one still serves.
local result = { status = "Progressing", message = "not issued yet" }

for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Ready" then
    if condition.status == "True" then
      result = { status = "Healthy", message = condition.message or "" }
    elseif condition.reason == "Expired" then
      result = { status = "Degraded", message = condition.message or "expired" }
    else
      result = { status = "Progressing", message = condition.message or "" }
    end
  elseif condition.type == "Issuing" and condition.status == "False" and condition.reason == "Failed" then
    return { status = "Degraded", message = condition.message or "issuing failed" }
  end
end
return result
