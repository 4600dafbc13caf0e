//! The change log: reading it from a place, its end, and cutting off its beginning.
//!
//! Numbers are drawn before transactions commit, so a later number may be visible first. What is new is therefore not what has
//! a higher number, but what a snapshot sees and an earlier one did not: a window. Within a window changes go by number,
//! which is drawn under the row's lock, so the versions of a document ascend.
//!
//! A snapshot is kept up to the highest transaction with a change that it sees. That change is on the disk, since its commit
//! is seen only after that, so after a crash no number up to there is given out again; later ones may be.

use syntrix_storage_core::backend::{Change, Feed, FeedPage};
use syntrix_storage_core::{
    Document, Error, EventType, ExpiredReason, Metadata, Position, Result, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::position::{Anchor, LogPlace, Snapshot};
use crate::row::{self, timestamp, value};
use crate::session::{Parameter, Session};
use crate::store::{Store, Texts};

/// One statement, hence one snapshot, for the checks and the rows: what is trimmed between two would be missed.
///
/// $1 xmax and $2 open transactions of the place, $3 the number behind which the window's rest begins, $4 the window's end or
/// NULL for now, $5 the highest number, $6 the limit, $7 the anchor's number, $8 the open transactions of $4.
///
/// The checks are a row of their own, the one without a number: beside the others they would be made once for each of them.
///
/// The planner is told as little as possible, because what it would make of it is a walk through the whole log for one page.
/// It sees no value, only that there are some, `(SELECT $1)`: so every plan is the same, and it is made once for a
/// connection. `IS TRUE` and `seq + 0` keep it from the index that does not begin where the page does.
macro_rules! page {
    ($lower:literal) => {
        concat!(
            "(SELECT pg_current_snapshot()::text, m.floor_seq, m.floor_nonce, m.floor_xid, ",
            highest_xid!(),
            ", ",
            trimmed_open!("(SELECT $2)"),
            ", ",
            trimmed_open!("(SELECT $8)"),
            ", (SELECT a.nonce FROM {schema}.changes AS a WHERE a.seq = (SELECT $7)), \
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
             FROM {schema}.metadata AS m WHERE m.one = 1) UNION ALL \
             (SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, page.* FROM (\
             (SELECT ",
            columns!(),
            " FROM {schema}.changes WHERE seq > ",
            $lower,
            " AND seq <= (SELECT $5) AND (xid >= (SELECT $1::xid8)) IS TRUE AND ",
            in_window!(),
            " ORDER BY seq LIMIT (SELECT $6)) UNION ALL (SELECT ",
            columns!(),
            " FROM {schema}.changes WHERE seq + 0 > (SELECT $3) AND seq + 0 <= (SELECT $5) \
             AND xid = ANY ((SELECT $2)::xid8[]) AND ",
            in_window!(),
            " ORDER BY seq + 0 LIMIT (SELECT $6))) AS page ORDER BY seq LIMIT (SELECT $6))"
        )
    };
}
macro_rules! in_window {
    () => {
        "((SELECT $4) IS NULL OR pg_visible_in_snapshot(xid, (SELECT $4::pg_snapshot)))"
    };
}
/// The highest transaction whose change is seen or was.
macro_rules! highest_xid {
    () => {
        // With its table's name, or it would be the text that is ordered, without the index.
        "greatest(m.floor_xid, (SELECT h.xid::text::bigint FROM {schema}.changes AS h ORDER BY h.xid DESC LIMIT 1))"
    };
}
/// Whether a transaction that was open then has changes that were trimmed since.
macro_rules! trimmed_open {
    ($open:literal) => {
        concat!(
            "EXISTS (SELECT FROM unnest(",
            $open,
            "::xid8[]) AS x WHERE x::text::bigint <= m.floor_xid AND (x::text::bigint = ANY (m.floor_xids) \
             OR (cardinality(m.floor_xids) >= 1000 AND x::text::bigint < m.floor_xids[1] \
             AND pg_visible_in_snapshot(x, m.floor_snapshot))))"
        )
    };
}
macro_rules! columns {
    () => {
        "id,fullpath,version,created_at,updated_at,deleted,data,event,seq,nonce,committed_at,\
         before_version,before_created_at,before_updated_at,before_data"
    };
}
pub(crate) const FIRST_PAGE: &str =
    page!("(SELECT min(seq + 0) - 1 FROM {schema}.changes WHERE xid >= (SELECT $1::xid8))");
pub(crate) const NEXT_PAGE: &str = page!("(SELECT $3)");
/// Where the columns of a change begin in a page.
const CHANGE: usize = 8;
/// Its number, which the row of the checks has not.
const SEQUENCE: usize = CHANGE + 8;

pub(crate) const END: &str = concat!(
    "SELECT pg_current_snapshot()::text, ",
    highest_xid!(),
    ", coalesce(c.seq, m.floor_seq), \
     coalesce(c.nonce, m.floor_nonce), coalesce(c.committed_at, m.floor_at) FROM {schema}.metadata AS m \
     LEFT JOIN LATERAL (SELECT seq, nonce, committed_at FROM {schema}.changes ORDER BY seq DESC LIMIT 1) AS c ON TRUE"
);
pub(crate) const OLDEST: &str = "SELECT committed_at FROM {schema}.changes ORDER BY seq LIMIT 1";
/// Of those who trim at once, one does it.
///
/// What goes is a beginning by number of what can be seen, so the rest of it is only what is not visible yet: it may come
/// later, below the floor, which never goes back. Of the transactions whose changes went, the last thousand are kept, to tell
/// them from those that were open beside them.
pub(crate) const TRIM: &str = "WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtextextended('{schema}', 5)) AS mine), \
    oldest AS MATERIALIZED (SELECT seq, committed_at FROM {schema}.changes ORDER BY seq LIMIT $2), \
    gone AS (DELETE FROM {schema}.changes AS c USING oldest AS o, turn \
      WHERE turn.mine AND c.seq = o.seq AND o.seq < coalesce(\
        (SELECT min(kept.seq) FROM oldest AS kept WHERE kept.committed_at >= $1), 9223372036854775807) \
      RETURNING c.seq, c.nonce, c.xid::text::bigint AS xid, c.committed_at), \
    last AS (SELECT seq, nonce, committed_at FROM gone ORDER BY seq DESC LIMIT 1), \
    floor AS (UPDATE {schema}.metadata AS m SET floor_seq = greatest(m.floor_seq, last.seq), \
      floor_nonce = CASE WHEN last.seq > m.floor_seq THEN last.nonce ELSE m.floor_nonce END, \
      floor_at = greatest(m.floor_at, last.committed_at), \
      floor_xid = greatest(m.floor_xid, (SELECT max(xid) FROM gone)), \
      floor_snapshot = CASE WHEN (pg_snapshot_xmax(m.floor_snapshot), pg_snapshot_xmin(m.floor_snapshot)) \
        > (pg_snapshot_xmax(pg_current_snapshot()), pg_snapshot_xmin(pg_current_snapshot())) \
        THEN m.floor_snapshot ELSE pg_current_snapshot() END, \
      floor_xids = ARRAY(SELECT x FROM (SELECT DISTINCT x FROM \
        (SELECT unnest(m.floor_xids) UNION ALL SELECT xid FROM gone) AS every(x) ORDER BY x DESC LIMIT 1000) AS latest ORDER BY x) \
      FROM last RETURNING 1) \
    SELECT count(*) FROM gone, floor";

/// What part of the log a page is read from.
#[derive(Clone, Debug)]
struct Window {
    from: LogPlace,
    /// `None` is now.
    end: Option<Snapshot>,
    last_sequence: i64,
    until: Option<LogPlace>,
}

impl Window {
    fn new(from: LogPlace, until: Option<LogPlace>) -> Self {
        let mut window = Self { end: None, last_sequence: i64::MAX, from, until };
        let Window { from, until, .. } = &window;
        let (end, last_sequence) = match (&from.window, until) {
            (Some(open), Some(until)) if is_middle_of(until, &from.seen, Some(open)) => {
                (Some(open.clone()), until.anchor.sequence)
            }
            (Some(open), _) => (Some(open.clone()), i64::MAX),
            (None, None) => (None, i64::MAX),
            (None, Some(until)) => match &until.window {
                Some(open) if until.seen == from.seen => {
                    (Some(open.clone()), until.anchor.sequence)
                }
                _ => (Some(until.seen.clone()), i64::MAX),
            },
        };
        (window.end, window.last_sequence) = (end, last_sequence);
        window
    }

    /// Whether the rest of it begins behind a number that is known.
    fn is_entered(&self) -> bool {
        self.from.window.is_some() || self.from.seen == Snapshot::default()
    }

    /// The page of all `rows` there are, or of as many as were asked for if there are more.
    fn page(&self, rows: Vec<Logged>, full: bool, now: Snapshot) -> FeedPage {
        let end = self.end.clone().unwrap_or_else(|| now.clone());
        let last = rows.last().map_or(self.from.anchor, |row| row.anchor);
        let inside = |anchor| LogPlace {
            seen: self.from.seen.clone(),
            window: Some(end.clone()),
            anchor,
            timeline: 0,
        };
        let (place, more) = match (full, self.last_sequence) {
            (true, _) => (inside(last), true),
            (false, i64::MAX) => {
                let highest = last.sequence.max(self.from.anchor.sequence);
                let anchor = if highest == last.sequence { last } else { self.from.anchor };
                (LogPlace::boundary(end.clone(), anchor), self.goes_on_behind(&end, &now))
            }
            (false, _) => (self.until.clone().unwrap_or_else(|| inside(last)), false),
        };
        let (between, end) = (inside(Anchor::default()).encode(), place.encode());
        let count = rows.len();
        let mut commit_time = Timestamp::from_milliseconds(i64::MIN);
        let changes = rows.into_iter().enumerate().map(|(number, logged)| {
            let Logged { mut change, anchor } = logged;
            change.position = match number + 1 == count {
                true => end.clone(),
                false => anchor.at(&between),
            };
            // Two processes' clocks may differ by more than their commits.
            commit_time = commit_time.max(change.commit_time);
            change.commit_time = commit_time;
            change
        });
        FeedPage { changes: changes.collect(), end: end.clone(), more }
    }

    fn goes_on_behind(&self, end: &Snapshot, now: &Snapshot) -> bool {
        match &self.until {
            Some(until) => until.window.is_some() || until.seen != *end,
            None => end != now,
        }
    }
}

fn is_middle_of(place: &LogPlace, seen: &Snapshot, window: Option<&Snapshot>) -> bool {
    place.seen == *seen && place.window.as_ref() == window
}

/// A change whose place is not known yet.
struct Logged {
    change: Change,
    anchor: Anchor,
}

/// At most `limit` changes from `from` on, none behind `until`.
pub(crate) async fn feed(
    store: &Store,
    from: &Feed,
    until: Option<&Position>,
    limit: usize,
) -> Result<FeedPage> {
    let asked = match from {
        Feed::Oldest => None,
        Feed::After(position) => Some(LogPlace::decode(position)?),
    };
    let until = until.map(LogPlace::decode).transpose()?;
    let mut window = Window::new(asked.clone().unwrap_or_default(), until);
    let mut session = store.pool.session().await?;
    let limit = limit.max(1);
    let rows = read(&mut session, &store.texts, &window, limit).await?;
    let (head, rows) = apart(&rows)?;
    match &asked {
        Some(place) => {
            if let Some(reason) = head.refuses(place) {
                return Err(expired(&mut session, &store.texts, reason).await);
            }
        }
        None => window.from.anchor = head.floor,
    }
    let full = rows.len() > limit;
    let logged = rows.into_iter().take(limit).map(|(_, row)| change(row)).collect::<Result<_>>()?;
    Ok(window.page(logged, full, head.now))
}

/// The checks, and the changes by number. Which part of a union comes first is not promised, above all not behind a pooler,
/// where the server may read the parts side by side.
fn apart(rows: &[Row]) -> Result<(Head, Vec<(i64, &Row)>)> {
    let (mut head, mut changes) = (None, Vec::with_capacity(rows.len()));
    for row in rows {
        match value::<Option<i64>>(row, SEQUENCE)? {
            Some(sequence) => changes.push((sequence, row)),
            None => head = Some(Head::read(row)?),
        }
    }
    changes.sort_by_key(|(sequence, _)| *sequence);
    Ok((head.ok_or_else(damaged)?, changes))
}

async fn read(
    session: &mut Session,
    texts: &Texts,
    window: &Window,
    limit: usize,
) -> Result<Vec<Row>> {
    let Window { from, end, last_sequence, .. } = window;
    let (xmax, open) = (from.seen.xmax_text(), from.seen.open_texts());
    let (end_text, end_open) = (end.as_ref().map(Snapshot::to_text), from.window.as_ref());
    let end_open = end_open.map_or_else(Vec::new, Snapshot::open_texts);
    let behind = if window.is_entered() { from.anchor.sequence } else { 0 };
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let values: [Parameter<'_>; 8] = [
        (&xmax, Type::TEXT),
        (&open, Type::TEXT_ARRAY),
        (&behind, Type::INT8),
        (&end_text, Type::TEXT),
        (last_sequence, Type::INT8),
        (&one_more, Type::INT8),
        (&from.anchor.sequence, Type::INT8),
        (&end_open, Type::TEXT_ARRAY),
    ];
    let text = if window.is_entered() { &texts.next_page } else { &texts.first_page };
    session.query(text, &values).await
}

/// What a page is checked by.
struct Head {
    now: Snapshot,
    floor: Anchor,
    floor_xid: u64,
    seen_trimmed: bool,
    window_trimmed: bool,
    anchor_nonce: Option<i64>,
}

impl Head {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            now: snapshot(row, 4)?,
            floor: Anchor { sequence: value(row, 1)?, nonce: value(row, 2)? },
            floor_xid: row::unsigned(value(row, 3)?)?,
            seen_trimmed: value(row, 5)?,
            window_trimmed: value(row, 6)?,
            anchor_nonce: value(row, 7)?,
        })
    }

    /// Why changes behind `place` may be missing.
    fn refuses(&self, place: &LogPlace) -> Option<ExpiredReason> {
        let Anchor { sequence, nonce } = place.anchor;
        let beyond = |snapshot: &Snapshot| snapshot.xmax > self.now.xmax;
        if beyond(&place.seen) || place.window.as_ref().is_some_and(beyond) {
            return Some(ExpiredReason::Diverged);
        }
        let known = match self.anchor_nonce {
            Some(stored) => stored == nonce,
            None if sequence == self.floor.sequence => nonce == self.floor.nonce || sequence == 0,
            None => sequence < self.floor.sequence,
        };
        match (self.covers(place), known) {
            (false, _) => Some(ExpiredReason::Trimmed),
            (true, false) => Some(ExpiredReason::Diverged),
            (true, true) => None,
        }
    }

    /// Whether `place` has all that was trimmed.
    fn covers(&self, place: &LogPlace) -> bool {
        let sees = |snapshot: &Snapshot, trimmed: bool| snapshot.xmax > self.floor_xid && !trimmed;
        self.floor_xid == 0
            || sees(&place.seen, self.seen_trimmed)
            || place.window.as_ref().is_some_and(|window| {
                sees(window, self.window_trimmed) && place.anchor.sequence >= self.floor.sequence
            })
    }
}

async fn expired(session: &mut Session, texts: &Texts, reason: ExpiredReason) -> Error {
    if reason == ExpiredReason::Diverged {
        return Error::token_expired(reason, None);
    }
    match session.query(&texts.oldest, &[]).await {
        Ok(rows) => {
            let oldest = rows.first().and_then(|row| timestamp(row, 0).ok());
            Error::token_expired(reason, oldest)
        }
        Err(error) => error,
    }
}

/// The place behind the last change, and its time; of an empty log its floor.
pub(crate) async fn end(session: &mut Session, texts: &Texts) -> Result<(Position, Timestamp)> {
    let rows = session.query(&texts.end, &[]).await?;
    let row = rows.first().ok_or_else(damaged)?;
    let now = snapshot(row, 1)?;
    let anchor = Anchor { sequence: value(row, 2)?, nonce: value(row, 3)? };
    Ok((LogPlace::boundary(now, anchor).encode(), timestamp(row, 4)?))
}

/// The snapshot a row begins with, up to the transaction in column `highest`.
fn snapshot(row: &Row, highest: usize) -> Result<Snapshot> {
    let snapshot = Snapshot::parse(value(row, 0)?).ok_or_else(damaged)?;
    Ok(snapshot.up_to(row::unsigned(value(row, highest)?)?))
}

/// Removes at most `limit` changes committed before `before`; the new floor is part of the same statement.
pub(crate) async fn trim(store: &Store, before: Timestamp, limit: usize) -> Result<usize> {
    let before = before.as_milliseconds();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut session = store.pool.session().await?;
    let values: [Parameter<'_>; 2] = [(&before, Type::INT8), (&limit, Type::INT8)];
    let rows = session.query(&store.texts.trim, &values).await?;
    let trimmed: i64 = value(rows.first().ok_or_else(damaged)?, 0)?;
    Ok(usize::try_from(trimmed).unwrap_or_default())
}

fn change(row: &Row) -> Result<Logged> {
    let document = row::document(row, CHANGE)?;
    let code: i16 = value(row, CHANGE + 7)?;
    let event_type = event_from_code(code).ok_or_else(damaged)?;
    let anchor = Anchor { sequence: value(row, SEQUENCE)?, nonce: value(row, CHANGE + 9)? };
    let commit_time = timestamp(row, CHANGE + 10)?;
    let before = before(row, &document)?;
    let position = Position::default();
    Ok(Logged { change: Change { event_type, before, document, commit_time, position }, anchor })
}

fn before(row: &Row, document: &Document) -> Result<Option<Document>> {
    let Some(version) = value::<Option<i64>>(row, CHANGE + 11)? else { return Ok(None) };
    let metadata = Metadata {
        version: Version::new(version),
        created_at: timestamp(row, CHANGE + 12)?,
        updated_at: timestamp(row, CHANGE + 13)?,
        deleted: false,
    };
    let body = row::body(row, CHANGE + 14)?;
    Ok(Some(Document::from_parts(document.path().clone(), metadata, body)))
}

fn event_from_code(code: i16) -> Option<EventType> {
    match code {
        1 => Some(EventType::Create),
        2 => Some(EventType::Update),
        3 => Some(EventType::Delete),
        _ => None,
    }
}
