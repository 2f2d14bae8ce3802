-- Wireshark and tshark: the TCP options, handshake messages and encryption frames of tcpcrypt, both protocols:
-- crypt (the original daemon's), and TCP-ENO with tcpcrypt (RFC 8547, RFC 8548).
--
--   tshark -X lua_script:tcpcrypt.lua -r FILE -Y tcpcrypt -O tcpcrypt
--
-- or copy it to the folder of "Personal Lua Plugins" (Help, About Wireshark, Folders). It deciphers nothing. Not as root:
-- from 4.4 on Wireshark loads no Lua then.

local proto = Proto("tcpcrypt", "tcpcrypt")

local OPCODES = {
  [0x01] = "HELLO", [0x02] = "HELLO_SUPPORT", [0x04] = "NEXTK2", [0x05] = "NEXTK2_SUPPORT", [0x06] = "INIT1",
  [0x07] = "INIT2", [0x41] = "PKCONF", [0x42] = "PKCONF_SUPPORT", [0x83] = "REKEY", [0x84] = "NEXTK1",
  [0x85] = "NEXTK1_SUPPORT",
}
local FIXED_SIZES = { [0x83] = 6, [0x84] = 10, [0x85] = 10 }
local TEPS = {
  [0x20] = "experimental", [0x21] = "P-256", [0x22] = "P-521", [0x23] = "Curve25519", [0x24] = "Curve448",
}
local EXPERIMENT, EXPERIMENT_HALF = 0x5f7b, 6 -- what the data of our use of TEP 0x20 begins with
local AGREEMENTS = { [0x23] = "Curve25519", [0x41] = "MLKEM768-X25519" }
local KEM_SIZES = { [0x15101a0e] = 1216, [0x097105e0] = 1120 } -- its public key and ciphertext; no other key is as long
local ALGORITHMS = { [0x02] = "RSA", [0xf0] = "X25519-HPKE", [0xf1] = "MLKEM768-X25519-HPKE" }
local CIPHERS = {
    [0x00] = "any", [0x01] = "AES128-CTR-SEQIV", [0x02] = "RC4", [0xf1] = "AES-256-GCM-SIV", [0xf2] = "AES-SIV-CMAC-256",
}
local MACS = {
    [0x00] = "any", [0x01] = "HMAC-SHA1", [0x02] = "UMAC", [0xf1] = "AES-256-GCM-SIV", [0xf2] = "AES-SIV-CMAC-256",
}
local AEADS = { [0x0001] = "AES-128-GCM", [0x0002] = "AES-256-GCM", [0x0010] = "ChaCha20-Poly1305" }
local KIND_CRYPT, KIND_MAC = 69, 70
local INIT1_MAGIC, INIT2_MAGIC = 0x15101a0e, 0x097105e0
local FRAME_HEADER, MIN_CLEN = 3, 17
local MAX_PENDING = 256 -- segments behind a hole, in one direction

local fields = {
  option = ProtoField.string("tcpcrypt.option", "Option"),
  opcode = ProtoField.uint8("tcpcrypt.opcode", "Suboption", base.HEX, OPCODES),
  session = ProtoField.bytes("tcpcrypt.session", "Session ID, first 9 bytes"),
  rekey_generation = ProtoField.uint8("tcpcrypt.rekey.generation", "Generation"),
  rekey_sequence = ProtoField.uint32("tcpcrypt.rekey.sequence", "From sequence number"),
  algorithm = ProtoField.uint8("tcpcrypt.algorithm", "Public-key algorithm", base.HEX, ALGORITHMS),
  cipher = ProtoField.uint8("tcpcrypt.cipher", "Cipher", base.HEX, CIPHERS),
  mac_algorithm = ProtoField.uint8("tcpcrypt.mac_algorithm", "MAC algorithm", base.HEX, MACS),
  mac = ProtoField.bytes("tcpcrypt.mac", "MAC"),
  nonce = ProtoField.bytes("tcpcrypt.nonce", "Nonce"),
  public_key = ProtoField.bytes("tcpcrypt.public_key", "Public key"),
  encrypted_nonce = ProtoField.bytes("tcpcrypt.encrypted_nonce", "Encrypted nonce"),
  message = ProtoField.string("tcpcrypt.message", "Message"),
  eno_global = ProtoField.uint8("tcpcrypt.eno.global", "Global suboption", base.HEX),
  eno_tep = ProtoField.uint8("tcpcrypt.eno.tep", "TEP", base.HEX, TEPS, 0x7f),
  eno_data = ProtoField.bytes("tcpcrypt.eno.data", "Suboption data"),
  eno_agreement = ProtoField.uint8("tcpcrypt.eno.agreement", "Key agreement", base.HEX, AGREEMENTS, 0x7f),
  ciphertext = ProtoField.bytes("tcpcrypt.ciphertext", "KEM ciphertext"),
  extensions = ProtoField.bytes("tcpcrypt.extensions", "Extensions"),
  aead = ProtoField.uint16("tcpcrypt.aead", "AEAD", base.HEX, AEADS),
  rekey = ProtoField.bool("tcpcrypt.frame.rekey", "New keys"),
  clen = ProtoField.uint16("tcpcrypt.frame.clen", "Ciphertext length"),
  generation = ProtoField.uint32("tcpcrypt.frame.generation", "Generation of keys"),
  frame = ProtoField.bytes("tcpcrypt.frame", "Frame"),
}
proto.fields = fields

local malformed = ProtoExpert.new("tcpcrypt.malformed", "Malformed", expert.group.MALFORMED, expert.severity.WARN)
proto.experts = { malformed }

local tcp_port, tcp_length, tcp_header = Field.new("tcp.srcport"), Field.new("tcp.len"), Field.new("tcp.hdr_len")
local tcp_sequence, tcp_flags, tcp_stream = Field.new("tcp.seq_raw"), Field.new("tcp.flags"), Field.new("tcp.stream")

local streams, packets, seen -- `seen` and not pinfo.visited: a first pass can be without the fields

function proto.init()
  streams, packets, seen = {}, {}, {}
end

-- What a list of fields has of the innermost TCP header.
local function last(field)
  local all = { field() }
  return all[#all]
end

-- The options of an area as {kind, range}; also what stands behind EOL, where the original daemon puts options.
local function options_of(area)
  local found, at, ended = {}, 0, false
  while at < area:len() do
    local kind = area(at, 1):uint()
    if kind < 2 then
      ended, at = ended or kind == 0, at + 1
    else
      local length = at + 1 < area:len() and area(at + 1, 1):uint() or 0
      if length < 2 or at + length > area:len() then return found, not ended end
      found[#found + 1] = { kind, area(at, length) }
      at = at + length
    end
  end
  return found, false
end

-- The CRYPT option's suboptions into a tree; their names, and the opcode of a message in the payload.
local function crypt_option(option, tree)
  local names, message, at = {}, nil, 2
  if option:len() == 2 then return "HELLO" end
  while at < option:len() do
    local opcode, size = option(at, 1):uint(), 1
    if opcode >= 0x80 then size = FIXED_SIZES[opcode] or 0
    elseif opcode >= 0x40 then size = at + 1 < option:len() and option(at + 1, 1):uint() or 0 end
    if size < 1 or (opcode >= 0x40 and size < 2) or at + size > option:len() then
      tree:add_proto_expert_info(malformed, "malformed suboption")
      return table.concat(names, ", ") .. " malformed", message
    end
    local body = option(at, size)
    local entry = tree:add(fields.opcode, body(0, 1))
    if opcode == 0x83 then
      entry:add(fields.rekey_generation, body(1, 1))
      entry:add(fields.rekey_sequence, body(2, 4))
    elseif opcode == 0x84 or opcode == 0x85 then
      entry:add(fields.session, body(1, 9))
    elseif opcode == 0x41 or opcode == 0x42 then
      for spec = 2, size - 3, 3 do entry:add(fields.algorithm, body(spec, 1)) end
    elseif opcode == 0x06 or opcode == 0x07 then
      message = opcode
    end
    names[#names + 1] = OPCODES[opcode] or string.format("0x%02x", opcode)
    at = at + size
  end
  return table.concat(names, ", "), message
end

-- Whether the option of a SYN is TCP-ENO's: it has a TEP of tcpcrypt's, and is no opening of the crypt protocol.
local function is_eno(option)
  local size = option:len()
  if size == 2 or (size == 3 and option(2, 1):uint() < 3) then return false end
  if size == 12 and (option(2, 1):uint() == 0x84 or option(2, 1):uint() == 0x85) then return false end
  local at = 2
  while at < size do
    local byte = option(at, 1):uint()
    if byte >= 0x80 and byte < 0xa0 then
      at = at + 1
      if at >= size then return false end
      if TEPS[option(at, 1):uint() % 0x80] then return true end
      at = at + 1 + byte % 0x20 + 1
    else
      if TEPS[byte % 0x80] then return true end
      if byte >= 0xa0 then return false end
      at = at + 1
    end
  end
  return false
end

-- The data of our experiment's suboption into a tree; the name of what it offers, nil for another experiment's.
local function experiment(data, tree)
  if data:len() < 3 or data(0, 2):uint() ~= EXPERIMENT then return nil end
  local first = data(2, 1):uint()
  if first >= 0x80 then
    tree:add(fields.eno_agreement, data(2, 1))
    if data:len() >= 3 + EXPERIMENT_HALF then tree:add(fields.session, data(3, EXPERIMENT_HALF)) end
    return (AGREEMENTS[first % 0x80] or string.format("0x%02x", first % 0x80)) .. " with data"
  end
  local names = {}
  for at = 2, data:len() - 1 do
    local byte = data(at, 1):uint()
    if byte > 0 then
      tree:add(fields.eno_agreement, data(at, 1))
      names[#names + 1] = AGREEMENTS[byte] or string.format("0x%02x", byte)
    end
  end
  return #names > 0 and table.concat(names, " or ") or nil
end

local function eno_option(option, tree)
  local names, at, size = {}, 2, option:len()
  while at < size do
    local byte, length = option(at, 1):uint(), 0
    if byte < 0x20 then
      tree:add(fields.eno_global, option(at, 1))
      at = at + 1
    else
      if byte >= 0x80 and byte < 0xa0 then
        length, at = byte % 0x20 + 1, at + 1
        if at + 1 + length > size then
          tree:add_proto_expert_info(malformed, "malformed suboption")
          return table.concat(names, ", ") .. " malformed"
        end
        byte = option(at, 1):uint()
      elseif byte >= 0xa0 then
        length = size - at - 1
      end
      local entry = tree:add(fields.eno_tep, option(at, 1))
      local ours
      if length > 0 then
        entry:add(fields.eno_data, option(at + 1, length))
        if byte == 0xa0 then ours = experiment(option(at + 1, length), entry) end
      end
      names[#names + 1] = ours or (TEPS[byte % 0x80] or string.format("0x%02x", byte)) .. (length > 0 and " with data" or "")
      at = at + 1 + length
    end
  end
  return table.concat(names, ", ")
end

-- Whether a message ends at an offset, or with one field of extensions behind it.
local function ends(payload, at)
  local rest = payload:len() - at
  if rest == 0 then return true end
  return rest >= 2 and payload(at, 2):uint() == rest - 2
end

local function add_extensions(payload, at, entry)
  if payload:len() > at + 2 then entry:add(fields.extensions, payload(at + 2)) end
end

local function crypt_message(payload, opcode, tree)
  local size = payload:len()
  if opcode == 0x06 and size >= 8 then
    local specs, nonce, key = payload(2, 2):uint(), payload(4, 2):uint(), payload(6, 2):uint()
    local whole = 8 + specs * 4 + nonce + 4 + key
    if payload(0, 2):uint() == 1 and nonce == 16 and key > 0 and ends(payload, whole) then
      local entry = tree:add(fields.message, payload, "INIT1")
      for at = 8, 8 + specs * 4 - 4, 4 do
        entry:add(fields.cipher, payload(at + 1, 1))
        entry:add(fields.mac_algorithm, payload(at + 3, 1))
      end
      entry:add(fields.nonce, payload(8 + specs * 4, nonce))
      entry:add(fields.algorithm, payload(8 + specs * 4 + nonce + 1, 1))
      entry:add(fields.public_key, payload(whole - key, key))
      add_extensions(payload, whole, entry)
      return
    end
  elseif opcode == 0x07 and size > 8 and payload(0, 2):uint() == 2 and ends(payload, 8 + payload(2, 2):uint()) then
    local entry = tree:add(fields.message, payload, "INIT2")
    local whole = 8 + payload(2, 2):uint()
    entry:add(fields.cipher, payload(5, 1))
    entry:add(fields.mac_algorithm, payload(7, 1))
    if whole > 8 then entry:add(fields.encrypted_nonce, payload(8, whole - 8)) end
    add_extensions(payload, whole, entry)
    return
  end
  tree:add_proto_expert_info(malformed, "malformed " .. OPCODES[opcode])
end

local function eno_message(message, tree)
  local is_init1 = message(0, 4):uint() == INIT1_MAGIC
  local entry = tree:add(fields.message, message, is_init1 and "Init1" or "Init2")
  local ciphers = is_init1 and message(8, 1):uint() or 1
  local at = is_init1 and 9 or 8
  if message:len() <= at + ciphers * 2 + 32 then
    entry:add_proto_expert_info(malformed, "message too short")
    return
  end
  for _ = 1, ciphers do
    entry:add(fields.aead, message(at, 2))
    at = at + 2
  end
  entry:add(fields.nonce, message(at, 32))
  local key = message(at + 32)
  local size = KEM_SIZES[message(0, 4):uint()]
  if key:len() < size + 2 or key:len() < size + 2 + key(size, 2):uint() then
    entry:add(fields.public_key, key)
    return
  end
  entry:add(is_init1 and fields.public_key or fields.ciphertext, key(0, size))
  if key(size, 2):uint() > 0 then entry:add(fields.extensions, key(size + 2, key(size, 2):uint())) end
end

-- An unsigned integer, big endian. Lua before 5.3 has no string.unpack.
local function uint(text, first, size)
  local value = 0
  for at = first, first + size - 1 do value = value * 256 + text:byte(at) end
  return value
end

-- Where frames begin in a segment's payload, given as a string. `way` is the direction's state: `missing`, bytes of
-- the current frame or message that are still to come; `header`, what has come of a frame's header.
local function read_frames(way, payload)
  local records, at = {}, 0
  if way.at_start and #payload >= 8 then
    local magic, length = uint(payload, 1, 4), uint(payload, 5, 4)
    if (magic == INIT1_MAGIC or magic == INIT2_MAGIC) and length >= 8 then
      records[1] = { kind = "message", at = 0, length = length }
      at, way.missing = math.min(length, #payload), math.max(0, length - #payload)
    end
  end
  way.at_start = false
  while at < #payload and not way.broken do
    if way.missing > 0 then
      local taken = math.min(way.missing, #payload - at)
      records[#records + 1] = { kind = "rest", at = at, length = taken }
      at, way.missing = at + taken, way.missing - taken
    else
      local before = #way.header
      way.header = way.header .. payload:sub(at + 1, at + FRAME_HEADER - before)
      local taken = #way.header - before
      if #way.header == FRAME_HEADER then
        local control, clen = uint(way.header, 1, 1), uint(way.header, 2, 2)
        local rekey = control % 2 == 1
        if clen < MIN_CLEN then
          way.broken = true
          records[#records + 1] = { kind = "broken", at = at, length = #payload - at }
        else
          way.generation = way.generation + (rekey and 1 or 0)
          local inside = math.min(clen, #payload - at - taken)
          records[#records + 1] = {
            kind = "frame", at = at, length = taken + inside, rekey = rekey, clen = clen, generation = way.generation,
          }
          way.missing, at = clen - inside, at + inside
        end
        way.header = ""
      end
      at = at + taken
    end
  end
  return records
end

-- Follows a direction: keeps what stands behind a hole, and reads what is contiguous. Records go to packets[number].
local function follow(way, number, offset, payload)
  if offset > way.next then
    if way.pending_count < MAX_PENDING and not way.pending[offset] then
      way.pending[offset] = { number, payload }
      way.pending_count = way.pending_count + 1
    end
    return
  end
  while payload do
    local known = way.next - offset
    if known < #payload then
      local records = read_frames(way, payload:sub(known + 1))
      for _, record in ipairs(records) do record.at = record.at + known end
      packets[number] = records
      way.next = offset + #payload
    end
    payload = nil
    for at, held in pairs(way.pending) do
      if at <= way.next then
        offset, number, payload = at, held[1], held[2]
        way.pending[at] = nil
        way.pending_count = way.pending_count - 1
        break
      end
    end
  end
end

local function way_of(stream, name)
  if not stream.ways[name] then
    stream.ways[name] = {
      next = 0, missing = 0, header = "", generation = 0, at_start = true, pending = {}, pending_count = 0,
    }
  end
  return stream.ways[name]
end

local function show_frames(records, payload, tree)
  local count, names = 0, {}
  for _, record in ipairs(records) do
    local length = math.min(record.length, payload:len() - record.at)
    local range = payload(record.at, length)
    if record.kind == "message" then
      names[1] = range(0, 4):uint() == INIT1_MAGIC and "Init1" or "Init2"
      if record.length <= length then eno_message(range, tree) end
    elseif record.kind == "frame" then
      count = count + 1
      local entry = tree:add(fields.frame, range)
      entry:add(fields.rekey, range, record.rekey)
      entry:add(fields.clen, range, record.clen)
      entry:add(fields.generation, range, record.generation)
      entry:append_text(record.rekey and " begins new keys" or "")
    elseif record.kind == "rest" then
      tree:add(range, string.format("Continued: %d bytes", length))
    else
      tree:add_proto_expert_info(malformed, "no valid frame where one should be")
    end
  end
  if count > 0 then names[#names + 1] = count == 1 and "1 frame" or count .. " frames" end
  return #names > 0 and table.concat(names, ", ") or "part of a frame"
end

function proto.dissector(tvb, pinfo, root)
  local port, stream_field, header = last(tcp_port), last(tcp_stream), last(tcp_header)
  if not (port and stream_field and header and last(tcp_flags) and last(tcp_sequence)) then return end
  local start, size = port.offset, header.value
  -- Wireshark gives no length for a header that is malformed.
  if not last(tcp_length) or size < 20 or start + size > tvb:len() then return end
  local flags, id = last(tcp_flags).value, stream_field.value
  local is_syn, is_ack = math.floor(flags / 2) % 2 == 1, math.floor(flags / 16) % 2 == 1
  local name = tostring(pinfo.src) .. " " .. pinfo.src_port
  local stream = streams[id] or { ways = {}, isn = {}, eno = {} }
  streams[id] = stream
  local sequence, length = last(tcp_sequence).value, last(tcp_length).value
  local captured = math.min(length, tvb:len() - start - size)

  local list, is_bad = {}, false
  if size > 20 then list, is_bad = options_of(tvb(start + 20, size - 20)) end
  local tree, infos, message
  local function subtree()
    tree = tree or root:add(proto, tvb(start, size + captured))
    return tree
  end
  local is_first = not seen[pinfo.number]
  seen[pinfo.number] = true
  if is_syn and is_first then
    stream.isn[name], stream.eno[name] = sequence, nil
    stream.ways[name] = nil
    if not is_ack then stream.opener, stream.enabled = name, false end
  end
  for _, option in ipairs(list) do
    local kind, range = option[1], option[2]
    local text
    if kind == KIND_MAC then
      text = "MAC"
      if range:len() > 2 then subtree():add(fields.mac, range(2)) end
    elseif kind == KIND_CRYPT then
      local entry = subtree():add(fields.option, range, "")
      if is_syn and is_eno(range) then
        stream.eno[name] = true
        text = "ENO " .. eno_option(range, entry)
      elseif not is_syn and range:len() == 2 then
        text = "ENO"
        local offers = 0
        for _ in pairs(stream.eno) do offers = offers + 1 end
        if name == stream.opener and offers == 2 then stream.enabled = true end
      else
        local names
        names, message = crypt_option(range, entry)
        text = "CRYPT " .. names
      end
      entry:set_text("Option: " .. text)
    end
    if text then infos = (infos and infos .. "; " or "") .. text end
  end
  if is_bad and tree then tree:add_proto_expert_info(malformed, "malformed options") end

  if captured == length and length > 0 and not is_syn then
    local payload = tvb(start + size, length)
    if message then crypt_message(payload, message, subtree()) end
    if stream.enabled and stream.isn[name] then
      if is_first then
        follow(way_of(stream, name), pinfo.number, (sequence - stream.isn[name] - 1) % 0x100000000, payload:raw())
      end
      local records = packets[pinfo.number]
      if records then
        local text = show_frames(records, payload, subtree())
        infos = (infos and infos .. "; " or "") .. text
      end
    end
  end
  if infos and tree then
    tree:append_text(": " .. infos)
    pinfo.cols.info:append(" [tcpcrypt " .. infos .. "]")
  end
end

register_postdissector(proto)
