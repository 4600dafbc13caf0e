//! PostgreSQL: the layer against the bare driver with a pool of the same size, on one server.
//!
//! Wall time: most of it is the server's.

mod feed;

use std::error::Error as StdError;
use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use futures_util::future::try_join_all;
use serde_json::json;
use syntrix_storage::{
    BulkItem, Direction, DocumentPath, DocumentStore, IndexDefinition, Operator, OrderBy, Query,
    Storage, StorageConfig,
};
use tokio_postgres::NoTls;
use tokio_postgres::types::{FromSql, Type};

use crate::Failure;
use crate::rounds::{Pair, Row, measure};
use crate::store::document_1_kib;

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";
const CONNECTIONS: usize = 16;
const DOCUMENTS: usize = 1_000;
const OPERATIONS: usize = 4_096;
const CREATES: usize = 5_120;
/// What each task creates before the clock starts.
const CREATES_FIRST: usize = 8;
const QUERIES: usize = 256;
const QUERY_DOCUMENTS: usize = 200_000;

/// What the layer's statement returns, and nothing is done with it.
struct Bytes(Vec<u8>);

impl<'row> FromSql<'row> for Bytes {
    fn from_sql(_: &Type, raw: &'row [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        // Copied once, as the layer does.
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

struct Server {
    storage: Storage,
    config: StorageConfig,
    pool: Pool,
    schema: String,
}

impl Server {
    async fn open(dsn: &str, namespace: &str) -> Result<Self, Failure> {
        let yaml = format!(
            "storage:\n  document:\n    backend: pg\n    pg: {{dsn: {}, poolConnectionsMax: {CONNECTIONS}}}\n",
            json!(dsn)
        );
        let config = StorageConfig::from_yaml(yaml, "bench.yaml")
            .with_namespace(namespace)
            .with_maintenance(false);
        config.remove_namespace().await?;
        let storage = Storage::from_config(config.clone()).await?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(dsn.parse()?, NoTls, recycling);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        Ok(Self { storage, config, pool, schema: format!("syntrix_storage_{namespace}") })
    }

    /// What a document and its entry in the change log take in one statement of one transaction.
    fn insertion(&self) -> String {
        format!(
            "WITH d AS (INSERT INTO {0}.documents VALUES ($1,$2,'raw','',$3,$3,1,FALSE,$4::jsonb) RETURNING *) \
             INSERT INTO {0}.changes (event,id,fullpath,created_at,updated_at,version,deleted,data,committed_at) \
             SELECT 1,id,fullpath,created_at,updated_at,version,deleted,data,$3 FROM d",
            self.schema
        )
    }

    async fn close(self) -> Result<(), Failure> {
        self.pool.close();
        self.storage.close().await?;
        Ok(self.config.remove_namespace().await?)
    }
}

/// One of the subjects measured here, for `--only`.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    Get,
    Create,
    Query,
    Feed,
}

/// Without a server there is nothing to compare, and the run says so.
pub async fn run(subject: Subject, rounds: usize) -> Result<Vec<Row>, Failure> {
    let Ok(dsn) = std::env::var(VARIABLE) else {
        eprintln!("postgres: not measured, {VARIABLE} names no server (`cargo xtask servers up`)");
        return Ok(Vec::new());
    };
    match subject {
        Subject::Get => get(&dsn, rounds).await,
        Subject::Create => Ok(vec![create(&dsn, rounds).await?]),
        Subject::Query => Ok(vec![query(&dsn, rounds).await?]),
        Subject::Feed => feed::rows(&dsn, rounds).await,
    }
}

fn path(number: usize) -> Result<DocumentPath, syntrix_storage::Error> {
    DocumentPath::parse(&format!("bench/{number}"))
}

async fn in_tasks<Work>(tasks: usize, work: impl Fn(usize) -> Work) -> Result<(), Failure>
where
    Work: Future<Output = Result<(), String>> + Send + 'static,
{
    let handles = (0..tasks).map(|task| tokio::spawn(work(task)));
    for result in try_join_all(handles).await? {
        result?;
    }
    Ok(())
}

async fn get(dsn: &str, rounds: usize) -> Result<Vec<Row>, Failure> {
    let server = Server::open(dsn, "bench_get").await?;
    let store = server.storage.documents()?;
    fill(&*store, (0..DOCUMENTS).map(|number| Ok((path(number)?, document_1_kib(number))))).await?;
    let text: Arc<str> = format!(
        "SELECT fullpath,version,created_at,updated_at,deleted,data FROM {}.documents WHERE id = $1",
        server.schema
    )
    .into();
    let mut rows = Vec::new();
    for tasks in [1, 16, 64] {
        let mut pairs = Vec::new();
        for round in 0..=rounds {
            let (pool, text) = (server.pool.clone(), Arc::clone(&text));
            let raw = measure(in_tasks(tasks, |task| {
                raw_gets(pool.clone(), Arc::clone(&text), task, OPERATIONS / tasks)
            }));
            let raw = raw.await?.wall;
            let layer = measure(in_tasks(tasks, |task| {
                layer_gets(Arc::clone(&store), task, OPERATIONS / tasks)
            }));
            let layer = layer.await?.wall;
            if round > 0 {
                pairs.push(Pair { raw, layer });
            }
        }
        let name = format!("PostgreSQL get, {tasks} tasks, wall");
        rows.push(Row::ratio(&name, &pairs, OPERATIONS, 1.05));
    }
    server.close().await?;
    Ok(rows)
}

async fn raw_gets(pool: Pool, text: Arc<str>, task: usize, count: usize) -> Result<(), String> {
    for number in 0..count {
        let path = path((task * 31 + number) % DOCUMENTS).map_err(told)?;
        let client = pool.get().await.map_err(told)?;
        let statement = client.prepare_cached(&text).await.map_err(told)?;
        let row =
            client.query_one(&statement, &[&&path.key().as_bytes()[..]]).await.map_err(told)?;
        if row.try_get::<_, Bytes>(5).map_err(told)?.0.is_empty() {
            return Err("an empty document".into());
        }
    }
    Ok(())
}

async fn layer_gets(
    store: Arc<dyn DocumentStore>,
    task: usize,
    count: usize,
) -> Result<(), String> {
    for number in 0..count {
        let path = path((task * 31 + number) % DOCUMENTS).map_err(told)?;
        store.get(&path, Default::default()).await.map_err(told)?;
    }
    Ok(())
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn create(dsn: &str, rounds: usize) -> Result<Row, Failure> {
    const TASKS: usize = 64;
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let server = Server::open(dsn, "bench_create").await?;
        let store = server.storage.documents()?;
        // The same rows on both sides; each row once, so the bare one has paths of its own.
        let text: Arc<str> = server.insertion().into();
        let pool = server.pool.clone();
        // Each task `share` documents, the first of which has the number `first`.
        let raw = |first: usize, share: usize| {
            let (pool, text) = (pool.clone(), Arc::clone(&text));
            in_tasks(TASKS, move |task| {
                raw_creates(pool.clone(), Arc::clone(&text), first + task * share, share)
            })
        };
        let layer = |first: usize, share: usize| {
            let store = Arc::clone(&store);
            in_tasks(TASKS, move |task| {
                layer_creates(Arc::clone(&store), first + task * share, share)
            })
        };
        // Connections are made and statements planned once in a process's life.
        raw(CREATES, CREATES_FIRST).await?;
        layer(CREATES, CREATES_FIRST).await?;
        let raw = measure(raw(0, CREATES / TASKS)).await?.wall;
        let layer = measure(layer(0, CREATES / TASKS)).await?.wall;
        if round > 0 {
            pairs.push(Pair { raw, layer });
        }
        server.close().await?;
    }
    Ok(Row::ratio("PostgreSQL create, 64 tasks, wall", &pairs, CREATES, 0.60))
}

async fn raw_creates(pool: Pool, text: Arc<str>, first: usize, count: usize) -> Result<(), String> {
    for number in first..first + count {
        let path = DocumentPath::parse(&format!("raw/{number}")).map_err(told)?;
        let client = pool.get().await.map_err(told)?;
        raw_create(&client, &text, &path, number).await.map_err(told)?;
    }
    Ok(())
}

async fn raw_create(
    client: &Object,
    text: &str,
    path: &DocumentPath,
    number: usize,
) -> Result<(), tokio_postgres::Error> {
    let types = [Type::BYTEA, Type::TEXT, Type::INT8, Type::TEXT];
    let statement = client.prepare_typed_cached(text, &types).await?;
    let data = document_1_kib(number).to_string();
    let key = &path.key().as_bytes()[..];
    client.execute(&statement, &[&key, &path.as_str(), &(number as i64), &data]).await?;
    Ok(())
}

async fn layer_creates(
    store: Arc<dyn DocumentStore>,
    first: usize,
    count: usize,
) -> Result<(), String> {
    for number in first..first + count {
        let path = path(number).map_err(told)?;
        store.create(&path, document_1_kib(number), Default::default()).await.map_err(told)?;
    }
    Ok(())
}

async fn query(dsn: &str, rounds: usize) -> Result<Row, Failure> {
    let server = Server::open(dsn, "bench_query").await?;
    let store = server.storage.documents()?;
    let document = |number: usize| {
        let room = format!("room{:03}", number % 100);
        Ok((path(number)?, json!({"room": room, "ts": number, "text": "lorem ipsum ".repeat(15)})))
    };
    fill(&*store, (0..QUERY_DOCUMENTS).map(document)).await?;
    let fields = vec![
        OrderBy::new("room", Direction::Ascending)?,
        OrderBy::new("ts", Direction::Descending)?,
    ];
    let index = IndexDefinition::new("bench", fields)?;
    server.storage.document_admin()?.create_index(&index).await?;
    let client = server.pool.get().await?;
    client.batch_execute(&format!("ANALYZE {}.documents", server.schema)).await?;
    let schema = &server.schema;
    let by_hand = format!(
        "SELECT fullpath,version,created_at,updated_at,deleted,data FROM {schema}.documents \
         WHERE collection = 'bench' AND collection LIKE 'bench' AND NOT deleted \
         AND ({schema}.ds_key(data->'room'::text)) COLLATE \"C\" = {schema}.ds_key($1::jsonb) \
         AND ({schema}.ds_key(data->'ts'::text)) COLLATE \"C\" > {schema}.ds_key($2::jsonb) \
         AND ({schema}.ds_key(data->'ts'::text)) COLLATE \"C\" < '3' \
         ORDER BY ({schema}.ds_key(data->'ts'::text)) COLLATE \"C\" DESC, id DESC LIMIT 21"
    );
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let raw = measure(async {
            for number in 0..QUERIES {
                let room = json!(format!("room{:03}", number % 100)).to_string();
                let after = json!(100_000).to_string();
                let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                    [(&room, Type::TEXT), (&after, Type::TEXT)];
                let rows = client.query_typed(&by_hand, &values).await?;
                for row in &rows {
                    row.try_get::<_, Bytes>(5)?;
                }
            }
            Ok(())
        });
        let raw = raw.await?.wall;
        let layer = measure(async {
            for number in 0..QUERIES {
                let query = Query::new("bench")?
                    .filter("room", Operator::Equal, json!(format!("room{:03}", number % 100)))?
                    .filter("ts", Operator::Greater, json!(100_000))?
                    .order_by("ts", Direction::Descending)?
                    .limit(20);
                store.query(query, Default::default()).await?;
            }
            Ok(())
        });
        let layer = layer.await?.wall;
        if round > 0 {
            pairs.push(Pair { raw, layer });
        }
    }
    drop(client);
    server.close().await?;
    Ok(Row::ratio("PostgreSQL query of 200,000, page of 20, wall", &pairs, QUERIES, 1.15))
}

async fn fill(
    store: &dyn DocumentStore,
    documents: impl Iterator<Item = Result<(DocumentPath, serde_json::Value), Failure>>,
) -> Result<(), Failure> {
    let mut documents = documents.peekable();
    while documents.peek().is_some() {
        let items = documents
            .by_ref()
            .take(1000)
            .map(|document| document.map(|(path, data)| BulkItem::Create { path, data }));
        let items = items.collect::<Result<Vec<_>, Failure>>()?;
        for result in store.bulk(items, Default::default()).await? {
            result?;
        }
    }
    Ok(())
}
