//! The scripts: what has to happen in one step happens in the server.

use redis::{Cmd, Script};
use syntrix_storage_core::backend::{LedgerKey, RevocationRequest};
use syntrix_storage_core::{Timestamp, TokenId};

use crate::keys::TokenKeys;

/// Stores what `RevocationRequest::join`, `insert` or `merge_revocation` says, at the server's time. The tests hold it
/// against these three.
///
/// `KEYS`: record, mark. `ARGV`: what to do, then the request; a text begins with `+`, and `-` is none; then the token, the time
/// of a record that is merged, and 1 if replicas are to confirm what is there afterwards. Answers the time, the mark, the
/// outcome, and the record if it was there and stays.
///
/// `WAIT` speaks of what its own connection wrote. Where replicas are to confirm, a record that stays as it is is therefore
/// written again: it may be another connection's, which was told that no replica had it.
///
/// `nonce` is the request's own: when the answer to an insertion was lost and it is sent again, it finds that it was
/// itself the first.
const CHANGE: &str = r"
local function decode(text)
  local parts = {string.match(text,
    '^2 (%d+) ([01]) (%d+) (%d+) (%x+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+)\n()')}
  if #parts ~= 11 then return nil end
  local record = {revoked = tonumber(parts[1]), immediate = parts[2], expires = tonumber(parts[3]),
    keep = tonumber(parts[4]), nonce = parts[5], texts = {}}
  local from = parts[11]
  for at = 1, 5 do
    local length = tonumber(parts[5 + at])
    if length < 0 then
      record.texts[at] = '-'
    else
      record.texts[at] = '+' .. string.sub(text, from, from + length - 1)
      from = from + length
    end
  end
  if from ~= #text + 1 then return nil end
  return record
end

local function encode(record)
  local lengths, body = {}, ''
  for at = 1, 5 do
    local text = record.texts[at]
    if text == '-' then
      lengths[at] = -1
    else
      lengths[at] = #text - 1
      body = body .. string.sub(text, 2)
    end
  end
  return string.format('2 %.0f %s %.0f %.0f %s %d %d %d %d %d\n', record.revoked, record.immediate,
    record.expires, record.keep, record.nonce, unpack(lengths)) .. body
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local canary = redis.call('GET', KEYS[2])
local text = redis.call('GET', KEYS[1])
local current = nil
if text then
  current = decode(text)
  if not current then return redis.error_reply('DAMAGED a stored record cannot be read') end
  if current.keep <= now then current = nil end
end

local request = {revoked = tonumber(ARGV[11]) or now, immediate = ARGV[2], expires = tonumber(ARGV[3]),
  keep = tonumber(ARGV[4]), nonce = ARGV[5], texts = {ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]}}
-- Compared byte by byte: the server's own order is that of its machine's language.
local function least(left, right)
  if left == '-' then return right end
  if right == '-' then return left end
  for at = 1, math.min(#left, #right) do
    local one, other = string.byte(left, at), string.byte(right, at)
    if one < other then return left end
    if one > other then return right end
  end
  if #left <= #right then return left else return right end
end

local written = false
local function put(record)
  redis.call('SET', KEYS[1], encode(record), 'PXAT', string.format('%.0f', record.keep))
  written = true
end

local outcome = 'unchanged'
if not current then
  if request.keep > now then
    put(request)
    outcome = 'inserted'
  else
    outcome = 'expired'
  end
elseif current.nonce == request.nonce then
  outcome = 'inserted'
elseif ARGV[1] == 'insert' then
  outcome = 'present'
elseif request.keep <= now and ARGV[1] == 'merge' then
  outcome = 'unchanged'
else
  local joined = {revoked = math.min(current.revoked, request.revoked), immediate = current.immediate,
    expires = math.max(current.expires, request.expires),
    keep = math.max(current.keep, request.keep), nonce = current.nonce,
    texts = {[5] = current.texts[5]}}
  if request.immediate == '1' then joined.immediate = '1' end
  for at = 1, 4 do
    joined.texts[at] = current.texts[at]
    if ARGV[1] == 'merge' then
      joined.texts[at] = least(joined.texts[at], request.texts[at])
    elseif joined.texts[at] == '-' then
      joined.texts[at] = request.texts[at]
    end
  end
  if encode(joined) ~= text then
    put(joined)
    outcome = 'tightened'
  end
end
-- The write of somebody else, of which nobody knows whether a replica has it, becomes one that ours is waited for.
if ARGV[12] == '1' and current and not written then put(current) end
return {string.format('%.0f', now), canary, outcome, outcome == 'present' and text or false}
";

/// Reads the mark and records of one bucket together with the time. `KEYS`: mark, records. A key of a wrong type is an
/// error, not one that is not there.
///
/// For a cluster, where two commands of which one has no key would not reach the same node.
const READ: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local records = {}
for at = 2, #KEYS do records[at - 1] = redis.call('GET', KEYS[at]) end
return {string.format('%.0f', now), redis.call('GET', KEYS[1]), records}
";

/// Writes a ledger record if its revision is the expected one, 0 if there is to be none. `KEYS`: ledger. `ARGV`: name,
/// expected revision, the new record.
const LEDGER_WRITE: &str = r"
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local revision = stored and string.match(stored, '^(%d+)\n') or '0'
if revision ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
";

/// Removes a ledger record of the expected revision. `KEYS`: ledger. `ARGV`: name, revision.
const LEDGER_REMOVE: &str = r"
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored or string.match(stored, '^(%d+)\n') ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])
";

/// A script and its digest, by which the server knows it.
#[derive(Debug)]
pub(crate) struct Source {
    text: &'static str,
    digest: String,
}

impl Source {
    fn new(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_owned() }
    }
}

/// The scripts of the backend.
#[derive(Debug)]
pub(crate) struct Scripts {
    change: Source,
    read: Source,
    ledger_write: Source,
    ledger_remove: Source,
}

/// One call of a script. Has a token's id in it and therefore prints nothing.
pub(crate) struct Invocation<'a> {
    source: &'a Source,
    keys: Vec<&'a str>,
    arguments: Vec<Vec<u8>>,
}

/// What a change is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// Grow stricter.
    Join,
    /// Be the first, or nothing.
    Insert,
    /// Grow as strict as a record of another store, which was revoked then.
    Merge(Timestamp),
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            change: Source::new(CHANGE),
            read: Source::new(READ),
            ledger_write: Source::new(LEDGER_WRITE),
            ledger_remove: Source::new(LEDGER_REMOVE),
        }
    }

    /// The change of one record, which replicas are to confirm or not.
    pub(crate) fn change<'a>(
        &'a self,
        change: Change,
        keys: &'a TokenKeys,
        request: &RevocationRequest,
        confirmed: bool,
    ) -> Invocation<'a> {
        let mode = match change {
            Change::Join => "join",
            Change::Insert => "insert",
            Change::Merge(_) => "merge",
        };
        let number = |time: Timestamp| time.as_milliseconds().to_string();
        let plain = [
            mode.to_owned(),
            u8::from(request.immediate).to_string(),
            number(request.expires_at),
            number(request.keep_until),
            format!("{:016x}", fastrand::u64(..)),
        ];
        let texts = [
            request.reason.as_deref(),
            request.subject.as_deref(),
            request.family.as_deref(),
            request.successor.as_ref().map(TokenId::as_str),
            Some(request.token.as_str()),
        ];
        let arguments = plain.into_iter().map(String::into_bytes).chain(texts.map(optional));
        let revoked_at = match change {
            Change::Merge(at) => number(at),
            Change::Join | Change::Insert => String::new(),
        };
        let confirmed = u8::from(confirmed).to_string();
        let arguments = arguments.chain([revoked_at, confirmed].map(String::into_bytes));
        Invocation {
            source: &self.change,
            keys: vec![&keys.record, &keys.canary],
            arguments: arguments.collect(),
        }
    }

    /// The reading of a bucket: mark first.
    pub(crate) fn read<'a>(&'a self, keys: Vec<&'a str>) -> Invocation<'a> {
        Invocation { source: &self.read, keys, arguments: Vec::new() }
    }

    /// A ledger record's new body, one revision later.
    pub(crate) fn ledger_write<'a>(
        &'a self,
        ledger: &'a str,
        key: &LedgerKey,
        expected: u64,
        body: Vec<u8>,
    ) -> Invocation<'a> {
        let record = [format!("{}\n", expected + 1).into_bytes(), body].concat();
        let arguments = vec![key.as_str().into(), expected.to_string().into(), record];
        Invocation { source: &self.ledger_write, keys: vec![ledger], arguments }
    }

    /// The removal of a ledger record.
    pub(crate) fn ledger_remove<'a>(
        &'a self,
        ledger: &'a str,
        key: &LedgerKey,
        expected: u64,
    ) -> Invocation<'a> {
        let arguments = vec![key.as_str().into(), expected.to_string().into()];
        Invocation { source: &self.ledger_remove, keys: vec![ledger], arguments }
    }
}

fn optional(text: Option<&str>) -> Vec<u8> {
    text.map_or_else(|| b"-".to_vec(), |text| [b"+", text.as_bytes()].concat())
}

impl Invocation<'_> {
    /// By the digest: the usual way.
    pub(crate) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.source.digest)
    }

    /// With the text, which makes the server know the digest from then on.
    pub(crate) fn by_text(&self) -> Cmd {
        self.command("EVAL", self.source.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        self.keys.iter().for_each(|key| _ = command.arg(*key));
        self.arguments.iter().for_each(|argument| _ = command.arg(&argument[..]));
        command
    }
}

#[cfg(test)]
mod tests;
