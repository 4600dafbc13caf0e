//! `user`: accounts. Hashes come from a file or stdin, never from the command line, and are never printed.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Map, Value, json};
use syntrix_storage::{
    Cursor, Error, NewUser, Reason, Result, Secret, User, UserFilter, UserId, UserOptions,
    UserPage, UserPageRequest, UserPatch, UserStore, Version,
};

use crate::args::Format;
use crate::commands::user_row;
use crate::failure::Failure;
use crate::json;
use crate::output::Output;
use crate::repeats::has_repeated_key;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Store a new account
    Create(CreateArgs),
    /// Print an account, without its hash
    Get {
        #[command(flatten)]
        account: Account,
    },
    /// Print one page of accounts by id, without hashes
    List(ListArgs),
    /// Change a name, roles, databases or profile
    Update(UpdateArgs),
    /// Replace the hash and end the sessions
    SetPasswordHash(SetPasswordArgs),
    /// Disable an account and end its sessions
    Disable {
        #[command(flatten)]
        account: Account,
        /// Stored with the account
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Enable a disabled account
    Enable {
        #[command(flatten)]
        account: Account,
    },
}

/// By name or by id.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Account {
    /// Name of the account, in any case of letters
    username: Option<String>,
    /// Id of the account instead of its name
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HashSource {
    /// Name of the hash's scheme
    #[arg(long, value_name = "NAME", default_value = "argon2id")]
    algorithm: String,

    /// File with the password's hash (a PHC string), or - for stdin
    #[arg(long, value_name = "FILE", default_value = "-")]
    hash_file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Name of the account, unique in its folded form
    username: String,
    #[command(flatten)]
    hash: HashSource,
    /// Id; made by the store without one
    #[arg(long)]
    id: Option<String>,
    /// Role of the account; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Database the account administers; may be repeated
    #[arg(long = "db-admin", value_name = "DATABASE")]
    db_admin: Vec<String>,
    /// The application's own data, a JSON object
    #[arg(long, value_name = "JSON")]
    profile: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only folded names that begin so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only accounts with this role
    #[arg(long)]
    role: Option<String>,
    /// Only disabled (true) or enabled (false) accounts
    #[arg(long, value_name = "BOOL")]
    disabled: Option<bool>,
    /// Most accounts to print, 1 to 200
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Continue behind the page that printed this cursor as "next"
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    account: Account,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// All roles, separated by commas; empty for none
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// All administered databases, separated by commas; empty for none
    #[arg(long, value_name = "DATABASES", value_delimiter = ',')]
    db_admin: Option<Vec<String>>,
    /// The whole profile, a JSON object
    #[arg(long, value_name = "JSON")]
    profile: Option<String>,
    /// Change only if the account has this version
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetPasswordArgs {
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    hash: HashSource,
    /// Leave the tokens that were issued so far valid
    #[arg(long)]
    keep_sessions: bool,
}

pub(crate) async fn run(command: UserCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        UserCommand::Create(args) => create(args, session).await,
        UserCommand::Get { account } => get(account, session).await,
        UserCommand::List(args) => list(args, session).await,
        UserCommand::Update(args) => update(args, session).await,
        UserCommand::SetPasswordHash(args) => set_password_hash(args, session).await,
        UserCommand::Disable { account, reason } => {
            let mut patch = UserPatch::default();
            (patch.disabled, patch.disabled_reason) = (Some(true), reason);
            change(account, patch, UserOptions::default(), session).await
        }
        UserCommand::Enable { account } => {
            let mut patch = UserPatch::default();
            patch.disabled = Some(false);
            change(account, patch, UserOptions::default(), session).await
        }
    }
}

impl Account {
    async fn find(&self, users: &dyn UserStore) -> Result<User> {
        match &self.id {
            Some(id) => {
                users.get_user_by_id(&user_id(id, "get_user_by_id")?, UserOptions::default()).await
            }
            None => {
                let username = self.username.as_deref().unwrap_or_default();
                users.get_user_by_username(username, UserOptions::default()).await
            }
        }
    }

    async fn find_id(&self, users: &dyn UserStore) -> Result<UserId> {
        match &self.id {
            Some(id) => user_id(id, "get_user_by_id"),
            None => Ok(self.find(users).await?.id),
        }
    }
}

impl HashSource {
    fn read(&self) -> Result<Secret, Failure> {
        let mut text = String::new();
        if self.hash_file == Path::new("-") {
            std::io::stdin().read_to_string(&mut text).map_err(Failure::io("stdin"))?;
        } else {
            let name = self.hash_file.display().to_string();
            text = std::fs::read_to_string(&self.hash_file).map_err(Failure::io(name))?;
        }
        let line_end: &[char] = &['\r', '\n'];
        Ok(Secret::new(text.trim_end_matches(line_end)))
    }
}

async fn create(args: CreateArgs, session: &mut Session) -> Result<(), Failure> {
    let mut user = NewUser::new(args.username, args.hash.read()?, args.hash.algorithm);
    user.id = args.id.map(|id| user_id(&id, "create_user")).transpose()?;
    user.roles = args.roles.into_iter().collect();
    user.db_admin = args.db_admin.into_iter().collect();
    user.profile = args.profile.map(|text| object(&text)).transpose()?.unwrap_or_default();
    session
        .with_storage(async |storage, output| {
            let created = storage.users()?.create_user(user, UserOptions::default()).await?;
            output.object(&user_row::of(&created))
        })
        .await
}

async fn get(account: Account, session: &mut Session) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output| {
            let user = account.find(&*storage.users()?).await?;
            output.object(&user_row::of(&user))
        })
        .await
}

async fn list(args: ListArgs, session: &mut Session) -> Result<(), Failure> {
    let mut filter = UserFilter::default();
    (filter.name_prefix, filter.role, filter.disabled) = (args.prefix, args.role, args.disabled);
    let mut request = UserPageRequest::default();
    request.limit = args.limit;
    request.after = args.after.as_deref().map(Cursor::from_text);
    session
        .with_storage(async |storage, output| {
            let users = storage.users()?;
            print(&users.list_users(filter, request, UserOptions::default()).await?, output)
        })
        .await
}

fn print(page: &UserPage, output: &mut Output) -> Result<(), Failure> {
    output.objects(&page.users.iter().map(user_row::of).collect::<Vec<_>>())?;
    match (&page.next, output.format()) {
        (None, _) => Ok(()),
        (Some(next), Format::Json) => output.json(&json!({ "next": next.as_str() })),
        (Some(next), Format::Table) => output.line(format_args!("there are more: --after {next}")),
    }
}

async fn update(args: UpdateArgs, session: &mut Session) -> Result<(), Failure> {
    let mut patch = UserPatch::default();
    patch.username = args.rename;
    patch.roles = args.roles.map(names);
    patch.db_admin = args.db_admin.map(names);
    patch.profile = args.profile.map(|text| object(&text)).transpose()?;
    let mut options = UserOptions::default();
    options.expected_version = args.expected_version.map(Version::new);
    change(args.account, patch, options, session).await
}

async fn change(
    account: Account,
    patch: UserPatch,
    options: UserOptions,
    session: &mut Session,
) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output| {
            let users = storage.users()?;
            let id = account.find_id(&*users).await?;
            let changed = users.update_user(&id, patch, options).await?;
            output.object(&user_row::of(&changed))
        })
        .await
}

async fn set_password_hash(args: SetPasswordArgs, session: &mut Session) -> Result<(), Failure> {
    let (hash, end_sessions) = (args.hash.read()?, !args.keep_sessions);
    session
        .with_storage(async |storage, output| {
            let users = storage.users()?;
            let id = args.account.find_id(&*users).await?;
            let (algorithm, options) = (&args.hash.algorithm, UserOptions::default());
            let changed = users.set_password(&id, hash, algorithm, end_sessions, options).await?;
            output.object(&user_row::of(&changed))
        })
        .await
}

/// An empty list is one empty part for clap.
fn names(parts: Vec<String>) -> BTreeSet<String> {
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

fn user_id(text: &str, operation: &'static str) -> Result<UserId> {
    UserId::parse(text).map_err(|error| error.in_operation(operation))
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    if has_repeated_key(text) {
        return Err(Failure::Usage("an object in the profile has a key twice".into()));
    }
    match json::parse_argument(text, "user")? {
        Value::Object(members) => Ok(members),
        _ => Err(Failure::Store(
            Error::invalid("profile", Reason::DataNotObject, "a profile is a JSON object")
                .in_operation("user"),
        )),
    }
}
