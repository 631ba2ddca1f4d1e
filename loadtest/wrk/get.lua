-- Reads one address as fast as wrk can, and ends with the same line of JSON as vote.lua.
--
--   wrk -t2 -c64 -d5s -s get.lua http://127.0.0.1:8080/total

function done(summary)
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status,
    summary.errors.timeout))
end
