-- Gives every record the same few fields, whoever wrote it: message, level, logger, and FileFlux's own
-- under `fileflux`, where they meet nobody else's of the same name.

local SHARED = {
  level = true, logger = true, exception = true, request_id = true, trace_id = true, span_id = true,
  kubernetes = true, stream = true,
}

-- What the parser istio_access finds.
local ACCESS = {
  "method", "path", "protocol", "status", "flags", "details", "failure", "tls_failure", "bytes_received",
  "bytes_sent", "duration_ms", "upstream_ms", "forwarded_for", "client_agent", "mesh_request_id",
  "authority", "upstream",
}

local LEVELS = {
  -- CockroachDB's letters.
  i = "info", w = "warning", e = "error", f = "critical",
  -- Kafka's and Strimzi's words.
  trace = "debug", warn = "warning", fatal = "critical",
}

local function level_of(word)
  local low = word:lower()
  return LEVELS[low] or low
end

local function of_fileflux(record)
  local kept, own = { message = record.event }, {}
  for name, value in pairs(record) do
    if SHARED[name] then
      kept[name] = value
    elseif name ~= "event" and name ~= "_p" then
      own[name] = value
    end
  end
  if next(own) ~= nil then
    kept.fileflux = own
  end
  return kept
end

local function of_a_proxy(record)
  local access = {}
  for _, name in ipairs(ACCESS) do
    access[name], record[name] = record[name], nil
  end
  record.access = access
  record.message = access.method .. " " .. access.path .. " " .. access.status
  record.level = access.status >= 500 and "warning" or "info"
  record._p = nil
  return record
end

-- A process that dies before its logs are set up prints its traceback plain.
local function of_anybody(record)
  if type(record.log) == "string" and record.message == nil then
    record.message, record.log = record.log, nil
  end
  record._p = nil
  if record.level == nil and type(record.message) == "string"
    and record.message:find("Traceback (most recent call last):", 1, true) then
    record.level = "error"
  end
  return record
end

function shape(tag, timestamp, record)
  if type(record.event) == "string" and type(record.logger) == "string" then
    record = of_fileflux(record)
  elseif record.mesh_request_id ~= nil and type(record.status) == "number" then
    record = of_a_proxy(record)
  else
    record = of_anybody(record)
  end
  if type(record.level) == "string" then
    record.level = level_of(record.level)
  end
  return 2, timestamp, record
end
