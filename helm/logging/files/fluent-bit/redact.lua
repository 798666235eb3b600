-- Takes secrets out of a record before it is kept on a disk or sent anywhere.
-- FileFlux logs none; this is for what proxies, clients' URLs and tracebacks of libraries carry along.
-- Rather too much is hidden than too little.

local HIDDEN = "[redacted]"
local DEPTH_MAX = 16
-- Patterns go back and forth in a line: twice as long takes four times as long. Bytes.
local LINE_MAX = 4096
local TEXT_MAX = 65536
local CUT = " [cut]"

-- A field whose name has one of these in it is hidden whole. Of "-" and "_" either is meant.
local SECRET_NAMES = {
  "password", "passwd", "secret", "authorization", "signature", "credential", "private_key", "master_key",
  "access_token", "session_token", "security_token", "auth_token", "id_token", "api_key", "apikey",
  "cookie", "database_url", "awsaccesskeyid",
}

local function any_case(words)
  return (words:gsub("%a", function(letter) return "[" .. letter:upper() .. letter:lower() .. "]" end))
end

-- For one line each. {what must be in the text in lower case, pattern, replacement}: the first is a cheap look.
local RULES = {
  -- A whole header, up to the end of its line or text.
  { "authorization", "(" .. any_case("authorization") .. "[\\\"']*%s*[:=]%s*[\\\"']*)[^\"'\r\n]+", "%1" .. HIDDEN },
  { "cookie", "(" .. any_case("cookie") .. "[\\\"']*%s*[:=]%s*[\\\"']*)[^\"'\r\n]+", "%1" .. HIDDEN },
  { "bearer", "(" .. any_case("bearer") .. "%s+)[%w%-%._~%+/=]+", "%1" .. HIDDEN },
  { "basic", "(" .. any_case("basic") .. "%s+)[%w%+/=_%-]+", "%1" .. HIDDEN },
  { "aws ", "(AWS )[%w]+:[%w%+/=]+", "%1" .. HIDDEN },
  { "whsec_", "whsec_[%w%+/=_%-]+", HIDDEN },
  -- Passwords of databases may hold anything but a blank; of other URLs, no slash: a port is no password.
  { "postgres", "(" .. any_case("postgres") .. "[%w%+]*://[^%s:/@]*:)[^%s\"'<>]*@", "%1" .. HIDDEN .. "@" },
  { "://", "(%a[%w%+%.%-]*://[^%s:/@]*:)[^%s/\"'<>]*@", "%1" .. HIDDEN .. "@" },
}

-- NAME=value, "NAME": "value", NAME%3Dvalue: as JSON, Python, a shell, a query or a form have them.
for _, word in ipairs(SECRET_NAMES) do
  local name = any_case(word):gsub("_", "[_%%-]")
  local look = word:match("^%a+")
  local start = "(" .. name .. "[%w_%-]*"
  table.insert(RULES, { look, start .. "\\?\"%s*[:=]%s*\\?\")[^\"\\]*", "%1" .. HIDDEN })
  table.insert(RULES, { look, start .. "'%s*[:=,]%s*b?')[^']*", "%1" .. HIDDEN })
  table.insert(RULES, { look, start .. "%s*[:=]%s*\")[^\"]*", "%1" .. HIDDEN })
  table.insert(RULES, { look, start .. "%s*[:=]%s*')[^']*", "%1" .. HIDDEN })
  table.insert(RULES, { look, start .. "%s*[:=]%s*)[^%s\"'&,;%)%]}]+", "%1" .. HIDDEN })
  table.insert(RULES, { look, start .. "%%3[Dd])[^%s\"'&%%]+", "%1" .. HIDDEN })
end

-- Not in the middle of a character: bytes 0x80 to 0xBF go on with one.
local function cut(text, bytes_max)
  if #text <= bytes_max then
    return text
  end
  while bytes_max > 0 and text:byte(bytes_max + 1) >= 0x80 and text:byte(bytes_max + 1) < 0xC0 do
    bytes_max = bytes_max - 1
  end
  return text:sub(1, bytes_max) .. CUT
end

local function clean_line(line)
  line = cut(line, LINE_MAX)
  local low = line:lower()
  for _, rule in ipairs(RULES) do
    if low:find(rule[1], 1, true) then
      line = line:gsub(rule[2], rule[3])
    end
  end
  return line
end

-- From where the first key begins to where the last one ends; to the end, if that was cut off.
local function without_keys(text)
  local first = text:find("%-%-%-%-%-BEGIN [%u ]*PRIVATE KEY%-%-%-%-%-")
  if first == nil then
    return text
  end
  local last = text:match(".*%-%-%-%-%-END [%u ]*PRIVATE KEY%-%-%-%-%-()")
  local is_last_whole = last ~= nil and not text:find("%-%-%-%-%-BEGIN [%u ]*PRIVATE KEY%-%-%-%-%-", last)
  return text:sub(1, first - 1) .. HIDDEN .. (is_last_whole and text:sub(last) or "")
end

local function clean_text(text)
  return (without_keys(cut(text, TEXT_MAX)):gsub("[^\r\n]+", clean_line))
end

local function is_secret_name(name)
  local low = name:lower():gsub("%-", "_")
  for _, word in ipairs(SECRET_NAMES) do
    if low:find(word, 1, true) then
      return true
    end
  end
  return false
end

local function clean(value, depth)
  if type(value) == "string" then
    return clean_text(value)
  elseif type(value) ~= "table" then
    return value
  elseif depth > DEPTH_MAX then
    return HIDDEN
  end
  local kept = {}
  for name, inner in pairs(value) do
    if type(name) == "string" and is_secret_name(name) then
      kept[clean_text(name)] = HIDDEN
    elseif type(name) == "string" then
      kept[clean_text(name)] = clean(inner, depth + 1)
    else
      kept[name] = clean(inner, depth + 1)
    end
  end
  return kept
end

-- Fluent Bit passes a record on untouched when its filter fails, which must not happen to this one.
function redact(tag, timestamp, record)
  local done, kept = pcall(clean, record, 1)
  if not done then
    kept = { level = "error", message = "a record was dropped: its secrets could not be looked for" }
  end
  return 2, timestamp, kept
end
