//! Soft delete, retention and purge.

use serde_json::json;
use syntrix_storage_core::ErrorKind;

use crate::case::case;
use crate::{Case, expect, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[case!(
    "SDL-01",
    Sdl,
    "A deleted document is gone for readers and stays as a tombstone one version later.",
    "Removing the record at once, so that watchers and replicas cannot tell what happened.",
    [],
    async |context| {
        let (store, path) = (context.store(), context.unique_path()?);
        let created = store.create(&path, json!({"n": 1}), Default::default()).await?;
        store.delete(&path, Default::default()).await?;

        let read = store.get(&path, Default::default()).await;
        expect_kind(read, ErrorKind::NotFound, "get after delete")?;
        let tombstone = context.tombstone(&path).await?;
        expect(tombstone.is_deleted(), "the tombstone is marked")?;
        expect_equal(tombstone.version(), created.version().next(), "version of the tombstone")?;
        Ok(())
    }
)];
