-- A child is well when it is in sync and what it made is well. Health alone is not enough: since Argo CD 3.4 a
-- child some of whose objects could not be made may call itself healthy, and the next wave would begin.
local result = { status = "Progressing", message = "nothing is known yet" }
local status = obj.status or {}
local health = status.health or {}
local sync = status.sync or {}
local operation = status.operationState or {}

if operation.phase == "Failed" or operation.phase == "Error" then
  result.status = "Degraded"
  result.message = operation.message or "the last sync failed"
elseif sync.status ~= "Synced" then
  result.message = "not in sync: " .. (sync.status or "unknown")
elseif health.status ~= nil then
  result.status = health.status
  result.message = health.message or ""
end
return result
