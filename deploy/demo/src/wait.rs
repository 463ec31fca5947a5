//! Waits for a condition, and says what did not come true when the time is over.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

/// Waits until the look gives something. An error of the look ends the waiting at once.
pub async fn until<T, L>(what: &str, limit: Duration, look: L) -> Result<T>
where
    L: AsyncFnMut() -> Result<Option<T>>,
{
    match within(limit, look).await? {
        Some(found) => Ok(found),
        None => bail!("waited {} s in vain for {what}", limit.as_secs_f32()),
    }
}

/// As [`until`], where it is no error that nothing came: the caller tells what is missing.
pub async fn within<T, L>(limit: Duration, mut look: L) -> Result<Option<T>>
where
    L: AsyncFnMut() -> Result<Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let found = look().await?;
        if found.is_some() || Instant::now() >= deadline {
            return Ok(found);
        }
        sleep(STEP).await;
    }
}
