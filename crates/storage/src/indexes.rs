//! Composite indexes, as an application or its deployment declares them.

use std::sync::Arc;

use syntrix_storage_core::{DocumentAdmin, IndexDefinition, IndexStatus, IndexSuggestion, Result};

/// The composite indexes of a document store.
///
/// A new index serves queries at once, whichever process made it. One that another process dropped is noticed after up to 30
/// seconds: until then its queries are answered without it, slowly, instead of being refused.
///
/// # Examples
///
/// ```
/// use syntrix_storage::{ErrorKind, Operator, Query, Storage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> syntrix_storage::Result<()> {
/// let storage = Storage::memory().await?;
/// let documents = storage.documents()?;
/// let query = Query::new("rooms")?.filter("kind", Operator::Equal, "chat")?.filter("open", Operator::Equal, true)?;
///
/// let error = documents.query(query.clone(), Default::default()).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::IndexRequired);
/// storage.indexes()?.create(error.suggestion().unwrap()).await?;
/// documents.query(query, Default::default()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Indexes(Arc<dyn DocumentAdmin>);

impl Indexes {
    pub(crate) fn new(admin: Arc<dyn DocumentAdmin>) -> Self {
        Self(admin)
    }

    /// All declared indexes.
    ///
    /// # Errors
    ///
    /// As the store's operations.
    pub async fn list(&self) -> Result<Vec<IndexStatus>> {
        self.0.list_indexes().await
    }

    /// Creates the index an error suggested, and returns its checked definition.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the suggestion was changed into nonsense.
    pub async fn create(&self, suggestion: &IndexSuggestion) -> Result<IndexDefinition> {
        let definition = suggestion.to_definition()?;
        self.0.create_index(&definition).await?;
        Ok(definition)
    }

    /// Drops an index.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub async fn drop(&self, name: &str) -> Result<()> {
        self.0.drop_index(name).await
    }
}
