-- KEYS: one for each entry. ARGV[1]: life of an entry in milliseconds; ARGV[i + 1]: the entry for KEYS[i].
-- An entry begins "<format> <version> ", whatever its format. Only one of an older or the same version, or what is no
-- entry at all, is replaced. Versions are below 2^53, so Lua's doubles hold them exactly.
local function version_of(entry)
  return type(entry) == 'string' and tonumber(string.match(entry, '^%d+ (%d+) ') or nil)
end

for i, key in ipairs(KEYS) do
  -- pcall: a key of another type is no entry, and no reason to leave out the others.
  local held = version_of(redis.pcall('GETRANGE', key, 0, 63))
  if not held or held <= version_of(ARGV[i + 1]) then
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
  end
end
