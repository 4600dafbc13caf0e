//! The kinds of backend that a configuration may name.

use syntrix_storage_core::backend::{BackendFactory, StoreKind};
use syntrix_storage_core::{Error, ErrorKind, Result};

/// The registered factories by kind. Kinds are compared exactly.
///
/// # Examples
///
/// ```
/// use syntrix_storage_registry::Factories;
///
/// let factories = Factories::new();
/// assert!(factories.get("sqlite").is_none());
/// assert!(factories.kinds().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Factories {
    /// In the order of their kinds.
    factories: Vec<Box<dyn BackendFactory>>,
}

impl Factories {
    /// No factory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a factory, of this library or of anybody else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] if its kind is registered, [`ErrorKind::InvalidArgument`] if its kind cannot stand in a file
    /// or means something there (`backend`, `kind`, `file`).
    pub fn register(&mut self, factory: Box<dyn BackendFactory>) -> Result<()> {
        let kind = factory.kind();
        if !is_kind(kind) {
            return Err(Error::new(ErrorKind::InvalidArgument, "register")
                .with_message(
                    "a kind is made of a-z, 0-9, - and _, and is none of backend, kind, file",
                )
                .with_fact("kind", kind));
        }
        match self.position(kind) {
            Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, "register")
                .with_message("a backend of this kind is registered already")
                .with_fact("kind", kind)),
            Err(position) => {
                self.factories.insert(position, factory);
                Ok(())
            }
        }
    }

    /// The factory of `kind`.
    pub fn get(&self, kind: &str) -> Option<&dyn BackendFactory> {
        self.position(kind).ok().map(|position| self.factories[position].as_ref())
    }

    /// Every factory by kind.
    pub fn iter(&self) -> impl Iterator<Item = &dyn BackendFactory> {
        self.factories.iter().map(AsRef::as_ref)
    }

    /// Every kind, sorted.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.iter().map(BackendFactory::kind).collect()
    }

    /// The kinds that offer `store`, sorted.
    pub fn kinds_for(&self, store: StoreKind) -> Vec<&'static str> {
        self.iter()
            .filter(|factory| factory.stores().contains(store))
            .map(BackendFactory::kind)
            .collect()
    }

    fn position(&self, kind: &str) -> std::result::Result<usize, usize> {
        self.factories.binary_search_by(|factory| factory.kind().cmp(kind))
    }
}

fn is_kind(kind: &str) -> bool {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    !kind.is_empty() && kind.bytes().all(allowed) && !matches!(kind, "backend" | "kind" | "file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Guards against a second factory that silently replaces the first.
    #[test]
    fn a_kind_is_registered_once() {
        let mut factories = testing::factories();
        let before = factories.kinds();
        let error = factories.register(testing::fake_pg()).unwrap_err();
        assert_eq!((error.kind(), error.fact("kind")), (ErrorKind::AlreadyExists, Some("pg")));
        assert_eq!(factories.kinds(), before);
    }

    #[test]
    fn kinds_are_compared_exactly() {
        let factories = testing::factories();
        assert_eq!(factories.get("pg").unwrap().kind(), "pg");
        assert!(factories.get("PG").is_none() && factories.get("pg ").is_none());
        assert_eq!(factories.kinds(), ["memory", "mongo", "pg", "redis", "sqlite"]);
        assert_eq!(factories.kinds_for(StoreKind::Users), ["memory", "pg", "sqlite"]);
    }
}
