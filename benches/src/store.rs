//! A store with documents in it, on an embedded file.

use serde_json::{Value, json};
use syntrix_storage::{BulkItem, DocumentPath, Storage, StorageConfig};
use tempfile::TempDir;

use crate::Failure;

/// A store in a folder of its own.
pub struct Fixture {
    pub folder: TempDir,
    pub storage: Storage,
}

impl Fixture {
    pub async fn open() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let config = StorageConfig::embedded(folder.path()).with_maintenance(false);
        Ok(Self { storage: Storage::from_config(config).await?, folder })
    }

    pub async fn fill(
        &self,
        documents: impl Iterator<Item = (DocumentPath, Value)>,
    ) -> Result<(), Failure> {
        let store = self.storage.documents()?;
        let mut items: Vec<_> =
            documents.map(|(path, data)| BulkItem::Create { path, data }).collect();
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(1000));
            for result in
                store.bulk(std::mem::replace(&mut items, rest), Default::default()).await?
            {
                result?;
            }
        }
        Ok(())
    }
}

/// About 1 KiB of JSON.
pub fn document_1_kib(number: usize) -> Value {
    json!({
        "number": number,
        "title": format!("document number {number}"),
        "tags": ["storage", "benchmark", "document"],
        "author": {"name": "Ada Lovelace", "karma": number % 1000},
        "text": "lorem ipsum dolor sit amet, consectetur adipiscing elit. ".repeat(15),
    })
}
