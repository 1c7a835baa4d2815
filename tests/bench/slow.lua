-- For wrk: milliseconds before each request.
function delay()
   return 5
end
