//! Resume tokens: none but the sealed ones open.

use syntrix_storage::{Position, ResumeToken, Timestamp, TokenSeal};

use crate::Target;

pub(crate) struct TokenText {
    seal: TokenSeal,
    tokens: Vec<String>,
}

impl TokenText {
    pub(crate) fn new() -> Self {
        let seal = TokenSeal::new(1, [7; 8], 1, [3; 32]);
        let token = |sequence: u64| {
            let position = Position { sequence, ..Position::default() };
            seal.seal(&position, Timestamp::from_milliseconds(1)).as_str().to_owned()
        };
        let tokens = vec![token(0), token(1), token(u64::MAX >> 1)];
        Self { seal, tokens }
    }
}

impl Target for TokenText {
    fn name(&self) -> &'static str {
        "token"
    }

    fn corpus(&self) -> Vec<String> {
        self.tokens.clone()
    }

    fn read(&self, input: &str) {
        let opened = self.seal.open(&ResumeToken::from_text(input)).is_ok();
        let sealed = self.tokens.iter().any(|token| token == input);
        assert_eq!(opened, sealed, "a token opens exactly if this store has sealed it");
    }
}
