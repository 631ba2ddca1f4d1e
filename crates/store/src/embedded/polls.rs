//! Polls, one row each.

use paredao_domain::{
    PartialsPolicy, Poll, PollDraft, PollId, PollSecret, Slug, UnixMillis, UtcOffset,
};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

use super::fault::{Work, damaged};
use super::file::random;
use crate::{PollChange, StoreError};

const COLUMNS: &str = "id, slug, title, candidates, utc_offset, opens_at, closes_at, final_at, \
                       key_life_s, partials_policy, principal, created_at, secret";

pub(super) fn create(connection: &mut Connection, draft: PollDraft, now: UnixMillis) -> Work<Poll> {
    let secret = PollSecret::new(random()?);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if find_by_slug(&transaction, &draft.slug)?.is_some() {
        return Err(StoreError::PollExists(draft.slug).into());
    }
    let id = transaction.query_row("SELECT coalesce(max(id), 0) + 1 FROM poll", [], |row| {
        row.get(0)
    })?;
    let poll = draft
        .into_poll(PollId(id), secret, now)
        .map_err(StoreError::from)?;
    insert(&transaction, &poll)?;
    transaction.commit()?;
    Ok(poll)
}

pub(super) fn change(
    connection: &mut Connection,
    slug: &Slug,
    change: PollChange,
    now: UnixMillis,
) -> Work<Poll> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut poll =
        find_by_slug(&transaction, slug)?.ok_or_else(|| StoreError::UnknownPoll(slug.clone()))?;
    match change {
        PollChange::Open => poll.open(now),
        PollChange::Close { lead_ms } => poll.close(now, lead_ms),
        PollChange::Extend { closes_at, lead_ms } => poll.extend(now, closes_at, lead_ms),
    }
    .map_err(StoreError::from)?;
    write_hours(&transaction, &poll)?;
    transaction.commit()?;
    Ok(poll)
}

pub(super) fn all(connection: &Connection) -> Work<Vec<Poll>> {
    let sql = format!("SELECT {COLUMNS} FROM poll ORDER BY id");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut polls = Vec::new();
    while let Some(row) = rows.next()? {
        polls.push(read(row)?);
    }
    Ok(polls)
}

pub(super) fn find(connection: &Connection, id: PollId) -> Work<Option<Poll>> {
    let sql = format!("SELECT {COLUMNS} FROM poll WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.0])?;
    rows.next()?.map(read).transpose()
}

fn find_by_slug(connection: &Connection, slug: &Slug) -> Work<Option<Poll>> {
    let sql = "SELECT id FROM poll WHERE slug = ?1";
    let id = connection
        .query_row(sql, [slug.as_str()], |row| row.get(0))
        .optional()?;
    id.map_or(Ok(None), |id| find(connection, PollId(id)))
}

/// Writes down when a poll opens, closes and became final: all that ever changes of it.
pub(super) fn write_hours(connection: &Connection, poll: &Poll) -> Work<()> {
    let sql = "UPDATE poll SET opens_at = ?2, closes_at = ?3, final_at = ?4 WHERE id = ?1";
    let times = [poll.opens_at, poll.closes_at, poll.final_at].map(|time| time.map(|t| t.0));
    let [opens_at, closes_at, final_at] = times;
    connection.execute(sql, (poll.id.0, opens_at, closes_at, final_at))?;
    Ok(())
}

fn insert(connection: &Connection, poll: &Poll) -> Work<()> {
    let sql = format!(
        "INSERT INTO poll ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    );
    let candidates = serde_json::to_string(&poll.candidates)
        .map_err(|error| damaged(format!("candidates cannot be written: {error}")))?;
    connection.execute(
        &sql,
        rusqlite::params![
            poll.id.0,
            poll.slug.as_str(),
            poll.title,
            candidates,
            poll.utc_offset.to_string(),
            poll.opens_at.map(|time| time.0),
            poll.closes_at.map(|time| time.0),
            poll.final_at.map(|time| time.0),
            poll.key_life_s,
            policy_name(poll.partials_policy),
            poll.principal,
            poll.created_at.0,
            poll.secret.expose(),
        ],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> Work<Poll> {
    let id = PollId(row.get(0)?);
    let wrong = |what: &str| damaged(format!("poll {id}: its {what} cannot be read"));
    let time = |column| row.get::<_, Option<i64>>(column).map(|t| t.map(UnixMillis));
    let slug: String = row.get(1)?;
    let candidates: String = row.get(3)?;
    let utc_offset: String = row.get(4)?;
    let policy: String = row.get(9)?;
    Ok(Poll {
        id,
        slug: slug.parse().map_err(|_| wrong("name"))?,
        title: row.get(2)?,
        candidates: serde_json::from_str(&candidates).map_err(|_| wrong("list of candidates"))?,
        utc_offset: utc_offset
            .parse::<UtcOffset>()
            .map_err(|_| wrong("offset from UTC"))?,
        opens_at: time(5)?,
        closes_at: time(6)?,
        final_at: time(7)?,
        key_life_s: row.get(8)?,
        partials_policy: policy_named(&policy).ok_or_else(|| wrong("policy of partials"))?,
        principal: row.get(10)?,
        created_at: UnixMillis(row.get(11)?),
        secret: PollSecret::new(row.get(12)?),
    })
}

fn policy_name(policy: PartialsPolicy) -> &'static str {
    match policy {
        PartialsPolicy::Always => "always",
    }
}

fn policy_named(name: &str) -> Option<PartialsPolicy> {
    match name {
        "always" => Some(PartialsPolicy::Always),
        _ => None,
    }
}
