//! Inputs out of a corpus.

const MUTATIONS_MAX: usize = 8;
/// Longer inputs only make a run slower; limits on length are tested elsewhere.
const BYTES_MAX: usize = 16 * 1024;

/// What readers of paths, JSON and YAML are likely to stumble over.
const TOKENS: &[&str] = &[
    "/",
    "..",
    "`",
    "\\",
    "\"",
    "$",
    "\0",
    "\u{feff}",
    "\u{1f600}",
    "e\u{301}",
    "null",
    "-0",
    "1e999",
    "18446744073709551616",
    "{",
    "}",
    "[[[[[[[[",
    "\n",
    "\t",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "!!",
    "${",
    "---\n",
    "\\ud800",
    "version",
    "%",
];

/// An endless row of inputs, the same for the same corpus and seed.
#[derive(Debug)]
pub struct Inputs {
    corpus: Vec<String>,
    random: fastrand::Rng,
}

impl Inputs {
    /// Inputs out of `corpus`.
    pub fn new(corpus: Vec<String>, seed: u64) -> Self {
        Self { corpus, random: fastrand::Rng::with_seed(seed) }
    }

    /// The next one. Bytes that are no UTF-8 become replacement characters, as every reader takes text.
    pub fn next_input(&mut self) -> String {
        let mut bytes = self.pick().into_bytes();
        if self.random.u8(..4) == 0 {
            bytes = self.spliced(&bytes);
        }
        for _ in 0..self.random.usize(..MUTATIONS_MAX) {
            self.mutate(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let random = &mut self.random;
        let (start, end) = range(random, bytes.len());
        match random.u8(..6) {
            0 if start < bytes.len() => bytes[start] ^= 1 << random.u8(..8),
            1 if start < bytes.len() => bytes[start] = random.u8(..),
            2 => bytes.insert(start, random.u8(b' '..=b'~')),
            3 => drop(bytes.drain(start..end)),
            4 => {
                let copy = bytes[start..end].to_vec();
                bytes.splice(start..start, copy);
            }
            _ => {
                let token = random.choice(TOKENS).copied().unwrap_or_default();
                bytes.splice(start..start, token.bytes());
            }
        }
    }

    fn pick(&mut self) -> String {
        self.random.choice(&self.corpus).cloned().unwrap_or_default()
    }

    /// The beginning of one text and the end of another.
    fn spliced(&mut self, first: &[u8]) -> Vec<u8> {
        let second = self.pick().into_bytes();
        let (end, start) = (self.random.usize(..=first.len()), self.random.usize(..=second.len()));
        [&first[..end], &second[start..]].concat()
    }
}

fn range(random: &mut fastrand::Rng, length: usize) -> (usize, usize) {
    let (left, right) = (random.usize(..=length), random.usize(..=length));
    (left.min(right), left.max(right))
}
