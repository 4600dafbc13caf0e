//! Document stores with one defect each.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::Value;
use syntrix_storage::{
    BulkItem, BulkOptions, CollectionPath, Document, DocumentAdmin, DocumentPath, DocumentStore,
    ErrorKind, Page, Patch, Query, QueryOptions, ReadOptions, Result, WatchOptions, WatchStart,
    WatchStream, WriteOptions, WriteResult,
};

use crate::Defect;

#[derive(Debug)]
pub(crate) struct BrokenStore {
    pub(crate) inner: Arc<dyn DocumentStore>,
    pub(crate) admin: Arc<dyn DocumentAdmin>,
    pub(crate) defect: Defect,
}

impl BrokenStore {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn path(&self, path: &DocumentPath) -> DocumentPath {
        match self.has(Defect::FoldsCase) {
            true => DocumentPath::parse(&path.as_str().to_lowercase()).unwrap(),
            false => path.clone(),
        }
    }

    fn options(&self, mut options: WriteOptions) -> WriteOptions {
        if self.has(Defect::IgnoresPreconditions) {
            options.preconditions.clear();
        }
        options
    }
}

#[async_trait]
impl DocumentStore for BrokenStore {
    async fn get(&self, path: &DocumentPath, options: ReadOptions) -> Result<Document> {
        assert!(!self.has(Defect::Panics), "a defect");
        self.inner.get(&self.path(path), options).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        options: ReadOptions,
    ) -> Result<Vec<Option<Document>>> {
        self.inner.get_many(paths, options).await
    }

    async fn create(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        let path = &self.path(path);
        match self.inner.create(path, data.clone(), options.clone()).await {
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && self.has(Defect::CreatesOverLive) =>
            {
                self.inner.update(path, data, options).await
            }
            result => result,
        }
    }

    async fn update(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        self.inner.update(&self.path(path), data, self.options(options)).await
    }

    async fn patch(
        &self,
        path: &DocumentPath,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        self.inner.patch(&self.path(path), patch, self.options(options)).await
    }

    async fn delete(&self, path: &DocumentPath, options: WriteOptions) -> Result<WriteResult> {
        self.inner.delete(&self.path(path), self.options(options)).await
    }

    async fn query(&self, query: Query, options: QueryOptions) -> Result<Page> {
        let query = match self.has(Defect::ShowsTombstones) {
            true => query.show_deleted(true),
            false => query,
        };
        match self.inner.query(query.clone(), options.clone()).await {
            Err(error)
                if error.kind() == ErrorKind::IndexRequired
                    && self.has(Defect::DeclaresIndexesItself) =>
            {
                let index = error.suggestion().unwrap().to_definition()?;
                self.admin.create_index(&index).await?;
                self.inner.query(query, options).await
            }
            Ok(mut page) if self.has(Defect::ForgetsTheCursor) => {
                page.next = None;
                Ok(page)
            }
            result => result,
        }
    }

    async fn watch(
        &self,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> Result<WatchStream> {
        let start = match start {
            WatchStart::Token(_) if self.has(Defect::ResumesFromOldest) => WatchStart::Oldest,
            start => start,
        };
        let stream = self.inner.watch(collection, start, options).await?;
        let (defect, mut number) = (self.defect, 0);
        let broken = stream.flat_map(move |item| {
            number += 1;
            let copies = match defect {
                Defect::LosesEvents if number == 700 => 0,
                Defect::DoublesEvents if number % 2 == 1 => 2,
                _ => 1,
            };
            let items: Vec<_> = match item {
                Ok(item) => (0..copies).map(|_| Ok(item.clone())).collect(),
                Err(error) => vec![Err(error)],
            };
            futures_util::stream::iter(items)
        });
        Ok(broken.boxed())
    }

    async fn bulk(
        &self,
        items: Vec<BulkItem>,
        options: BulkOptions,
    ) -> Result<Vec<Result<WriteResult>>> {
        self.inner.bulk(items, options).await
    }

    async fn close(&self) -> Result<()> {
        match self.has(Defect::StaysOpen) {
            true => Ok(()),
            false => self.inner.close().await,
        }
    }
}
