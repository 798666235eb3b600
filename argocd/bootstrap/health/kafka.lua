-- Kafka is well when the operator has seen this very change and says Ready.
local result = { status = "Progressing", message = "the operator has not seen it yet" }
local status = obj.status or {}
local paused = (obj.metadata.annotations or {})["strimzi.io/pause-reconciliation"] == "true"

if paused then
  return { status = "Suspended", message = "reconciliation is paused" }
end
if status.observedGeneration ~= nil and status.observedGeneration < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "an older change is being carried out" }
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" and condition.status == "True" then
    result = { status = "Healthy", message = "" }
  elseif condition.type == "NotReady" and condition.status == "True" then
    if condition.reason == "Creating" then
      result = { status = "Progressing", message = condition.message or "being created" }
    else
      result = { status = "Degraded", message = condition.message or condition.reason or "not ready" }
    end
  end
end
return result
