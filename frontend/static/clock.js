// The server's clock as this page can know it: a phone's own may be wrong by hours.

/**
 * `serverNow` (RFC 3339) was true when the local clock showed `localThen`. What the server says
 * later can only move the estimate forward: it cannot speak from the future.
 */
export function serverClock(serverNow, localThen, localNow = Date.now) {
  let ahead = Date.parse(serverNow) - localThen;
  return {
    now: () => localNow() + ahead,
    hear(rfc3339) {
      ahead = Math.max(ahead, Date.parse(rfc3339) - localNow());
    },
  };
}

/** When this document's first byte arrived, on the local clock. */
export function documentArrival() {
  const [navigation] = performance.getEntriesByType("navigation");
  return performance.timeOrigin + (navigation?.responseStart ?? 0);
}
