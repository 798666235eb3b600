-- A user is well when its password and its rules are at the brokers: FileFlux waits for the Secret.
local result = { status = "Progressing", message = "the operator has not seen it yet" }
local status = obj.status or {}

if status.observedGeneration ~= nil and status.observedGeneration < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "an older change is being carried out" }
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" and condition.status == "True" then
    result = { status = "Healthy", message = "" }
  elseif condition.type == "NotReady" and condition.status == "True" then
    result = { status = "Degraded", message = condition.message or condition.reason or "not ready" }
  end
end
return result
