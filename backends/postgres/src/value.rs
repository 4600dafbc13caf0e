//! Values of a statement that is built at run time.

use std::error::Error as StdError;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::row::Json;

/// A value with the type that it is sent as.
#[derive(Debug)]
pub(crate) enum Value<'plan> {
    Text(&'plan str),
    Integer(i64),
    Bool(bool),
    Key(&'plan [u8]),
    Json(String),
    /// Text, or a number that is no bigint.
    OwnedText(String),
}

impl Value<'_> {
    /// What the server is told that it is.
    pub(crate) fn sql_type(&self) -> Type {
        match self {
            Self::Text(_) | Self::OwnedText(_) => Type::TEXT,
            Self::Integer(_) => Type::INT8,
            Self::Bool(_) => Type::BOOL,
            Self::Key(_) => Type::BYTEA,
            Self::Json(_) => Type::JSONB,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        of_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Text(text) => text.to_sql(of_type, out),
            Self::OwnedText(text) => text.to_sql(of_type, out),
            Self::Integer(integer) => integer.to_sql(of_type, out),
            Self::Bool(flag) => flag.to_sql(of_type, out),
            Self::Key(key) => key.to_sql(of_type, out),
            Self::Json(text) => Json(text).to_sql(of_type, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
