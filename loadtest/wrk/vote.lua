-- Votes as fast as wrk can send them. Every request carries a key of its own, made cheaply: one
-- counter between two strings prepared beforehand.
--
--   wrk -t2 -c64 -d5s -s vote.lua http://127.0.0.1:8080/votar -- RUN [key|no-key] [keep-alive|close]
--
-- RUN makes the keys of one run different from those of another: use a new one each time.
-- Ends with one line of JSON for programs, after wrk's own report.

local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

local heads, tails, count = {}, {}, 0

function init(args)
  local run, key, connection = args[1] or tostring(os.time()), args[2] or "key", args[3] or "keep-alive"
  local head = "POST " .. wrk.path .. " HTTP/1.1\r\n"
    .. "Host: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
    .. "Content-Type: application/json\r\n"
    .. "Content-Length: 10\r\n"
  if connection == "close" then
    head = head .. "Connection: close\r\n"
  end
  for candidate = 1, 2 do
    local body = '{"voto":' .. candidate .. '}'
    if key == "key" then
      heads[candidate] = head .. "Idempotency-Key: " .. run .. "-" .. id .. "-"
      tails[candidate] = "\r\n\r\n" .. body
    else
      -- The counter goes where nobody looks, so that both variants cost the client the same.
      heads[candidate] = head .. "X-Nothing: " .. run .. "-" .. id .. "-"
      tails[candidate] = "\r\n\r\n" .. body
    end
  end
end

function request()
  count = count + 1
  local candidate = count % 2 + 1
  return heads[candidate] .. (1000000000 + count) .. tails[candidate]
end

function done(summary)
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status,
    summary.errors.timeout))
end
