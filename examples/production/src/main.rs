//! A service's first minute on the stores of a configuration: `cargo run -p syntrix-storage-example-production -- storage.yaml`.
//!
//! `examples/production.yaml` is such a file: documents on MongoDB, accounts on PostgreSQL, revoked tokens on Redis. No line here
//! knows that.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

use std::time::Duration;

use serde_json::json;
use syntrix_storage::{
    Clock, DocumentPath, Error, ErrorKind, LoginAttempt, NewUser, Result, Secret, Storage,
    StorageConfig, SystemClock, TokenId, User,
};

const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "examples/production.yaml".into());
    let storage = Storage::from_config(StorageConfig::from_file(file)?).await?;
    let told = first_minute(&storage).await;
    storage.close().await?;
    told?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Uses every store once and tells where it lies.
async fn first_minute(storage: &Storage) -> Result<Vec<String>> {
    let topic = rename_the_lobby(storage).await?;
    let ada = log_in(storage).await?;
    log_out(storage).await?;
    let health = storage.health().await?;
    let lines =
        health.iter().map(|one| format!("{} on {}", one.store.as_str(), one.report.backend));
    Ok(lines
        .chain([format!("{} logged in, renamed the lobby to {topic}, logged out", ada.username)])
        .collect())
}

/// What is there from an earlier run is as good as what was just made.
fn or_there<T>(made: Result<T>) -> Result<Option<T>> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

async fn rename_the_lobby(storage: &Storage) -> Result<String> {
    let (documents, lobby) = (storage.documents()?, DocumentPath::parse("rooms/lobby")?);
    or_there(documents.create(&lobby, json!({"topic": "rust"}), Default::default()).await)?;
    documents.update(&lobby, json!({"topic": "storage"}), Default::default()).await?;
    let lobby = documents.get(&lobby, Default::default()).await?;
    Ok(lobby.value()?["topic"].to_string())
}

async fn log_in(storage: &Storage) -> Result<User> {
    let users = storage.users()?;
    let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    or_there(users.create_user(ada, Default::default()).await)?;
    let ada = users.get_user_by_username("ada", Default::default()).await?;
    match users.begin_login_attempt(&ada.id, Default::default(), Default::default()).await? {
        LoginAttempt::Allowed(ticket) => {
            // Here the password is compared with the hash.
            users.record_login_success(&ada.id, Some(ticket), Default::default()).await?;
            Ok(ada)
        }
        _ => Err(Error::new(ErrorKind::Locked, "log_in").with_message("no login is allowed now")),
    }
}

async fn log_out(storage: &Storage) -> Result<()> {
    let (revocations, token) = (storage.revocations()?, TokenId::parse("9b1d2c")?);
    let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    revocations.revoke_token_immediate(&token, expires_at, Default::default()).await?;
    match revocations.is_revoked(&token, GRACE, Default::default()).await? {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Internal, "log_out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCTION: &str = include_str!("../../production.yaml");

    /// The file with the addresses of the servers that `cargo xtask servers up` names.
    fn on_test_servers() -> String {
        let addresses = [
            (
                "mongodb://mongo.internal:27017/?replicaSet=rs0&tls=true",
                "SYNTRIX_STORAGE_TEST_MONGO",
            ),
            ("postgres://syntrix@postgres.internal:5432/syntrix", "SYNTRIX_STORAGE_TEST_PG"),
            ("rediss://redis.internal:6379", "SYNTRIX_STORAGE_TEST_REDIS"),
        ];
        addresses.iter().fold(PRODUCTION.to_owned(), |text, (address, variable)| {
            assert!(text.contains(address), "{address}");
            let server = std::env::var(variable).unwrap_or_else(|_| {
                panic!("{variable} names no server; run `cargo xtask servers up`")
            });
            text.replace(address, &server)
        })
    }

    #[test]
    fn the_file_passes_the_check_as_it_is() {
        let report = StorageConfig::from_yaml(PRODUCTION, "production.yaml").check().unwrap();
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        assert!(report.warnings[0].contains("pg-doc"), "{:?}", report.warnings);
    }

    #[tokio::test]
    async fn a_service_uses_the_three_stores_of_the_requirements_example() {
        let config = StorageConfig::from_yaml(on_test_servers(), "production.yaml")
            .with_namespace("production_example");
        let storage = Storage::from_config(config.clone()).await.unwrap();
        let told = first_minute(&storage).await;
        storage.close().await.unwrap();
        config.remove_namespace().await.unwrap();
        assert_eq!(
            told.unwrap(),
            [
                "documents on mongo",
                "users on pg",
                "revocations on redis",
                "Ada logged in, renamed the lobby to \"storage\", logged out"
            ]
        );
    }
}
