//! The public traits, backend traits and data model of syntrix-storage.
//!
//! This crate decides what a document, a filter, an order, a cursor, a token and an error are. It does no I/O and knows no
//! runtime, no driver and no configuration format. Applications use it through the facade crate `syntrix-storage`;
//! authors of backends use [`backend`].

pub mod backend;
mod capabilities;
mod cursor;
mod document;
mod document_admin;
mod document_store;
mod duration;
mod error;
mod extract;
mod field;
mod filter;
mod index;
mod login;
mod operation;
mod options;
mod patch;
mod path;
mod plan;
mod query;
mod retention;
mod revocation;
mod revocation_store;
mod scalar;
mod secret;
mod session;
mod settings;
mod store_admin;
mod time;
mod token;
mod user;
mod user_list;
mod user_rules;
mod user_store;
mod username;
mod value;
mod watch;

pub use capabilities::Capabilities;
pub use cursor::{Cursor, Place};
pub use document::{Body, Document, Metadata, Version};
pub use document_admin::{
    DocumentAdmin, HealthReport, IndexStatus, PurgeReport, ScanPage, ScanRequest,
};
pub use document_store::{BulkItem, DocumentStore, DocumentStoreExt, ITEMS_MAX, WriteResult};
pub use duration::HumanDuration;
pub use error::{Error, ErrorKind, ExpiredReason, Reason, Result, Retry};
pub use field::{FIELD_SEGMENTS_MAX, Field, FieldPath, SystemField};
pub use filter::{FILTERS_MAX, Filter, IN_VALUES_MAX, Operand, Operator};
pub use index::{
    CollectionPattern, INDEX_BYTES_MAX, INDEX_FIELDS_MAX, INDEXES_MAX, IndexDefinition,
    IndexSuggestion, PatternSegment, SuggestedField,
};
pub use login::{
    LOGIN_THRESHOLD_MAX, LoginAttempt, LoginPolicy, LoginStats, LoginSuccess, LoginTicket,
};
pub use operation::Operation;
pub use options::{BulkOptions, Consistency, QueryOptions, ReadOptions, WriteOptions};
pub use patch::{CheckedPatch, Patch};
pub use path::{CollectionPath, DocumentId, DocumentPath, PATH_BYTES_MAX};
pub use plan::{ORDER_FIELDS_MAX, QueryPlan, check_stored_path};
pub use query::{Direction, LIMIT_DEFAULT, LIMIT_MAX, OrderBy, Page, Query};
pub use retention::Retention;
pub use revocation::{
    GRACE_MAX, Revocation, RevocationStatus, RevokeOutcome, RotationOutcome, TokenId,
};
pub use revocation_store::{RevocationOptions, TokenRevocationStore};
pub use scalar::{Scalar, ScalarType};
pub use secret::Secret;
pub use session::{SeenWrite, SessionToken};
pub use settings::{
    AddressTls, Location, SettingsNode, SettingsValue, TlsMode, TlsSettings, Transport,
    is_this_machine,
};
pub use store_admin::StoreAdmin;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use token::{OpenedToken, Position, ResumeToken, TOKEN_BYTES_MAX, TokenSeal};
pub use user::{NewUser, User, UserId, UserPatch};
pub use user_list::{
    USER_LIMIT_DEFAULT, USER_LIMIT_MAX, UserFilter, UserListPlan, UserPage, UserPageRequest,
};
pub use user_rules::{PASSWORD_HASH_BYTES_MAX, PROFILE_BYTES_MAX, ROLES_MAX, check_password};
pub use user_store::{AuthStore, UserOptions, UserStore};
pub use username::{USERNAME_CHARACTERS_MAX, UsernameKey};
pub use value::{DEPTH_MAX, DOCUMENT_BYTES_MAX, KEY_BYTES_MAX, encode_data, normalize_data};
pub use watch::{Event, EventType, WatchItem, WatchOptions, WatchStart, WatchStream};
