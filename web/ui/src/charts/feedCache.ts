/** Keeps the feeds of panels that were scrolled away, so that scrolling back fetches only stale data. */

import type { ProjectRef } from "../api/types";
import type { Coalescer } from "./coalesce";
import { Feed, type Revisioned } from "./feed";

const MAX_FEEDS = 60;

export class FeedCache {
  private readonly project: ProjectRef;
  private readonly source: Coalescer;
  private readonly live: Revisioned;
  private readonly feeds = new Map<string, Feed>();

  constructor(project: ProjectRef, source: Coalescer, live: Revisioned) {
    this.project = project;
    this.source = source;
    this.live = live;
  }

  /** The feed of a panel; `place` distinguishes panels of the same key. Evicts the least recently used. */
  get(key: string, place: string): Feed {
    const name = `${place} ${key}`;
    const feed = this.feeds.get(name) ?? new Feed(key, this.project, this.source, this.live);
    this.feeds.delete(name);
    this.feeds.set(name, feed);
    for (const oldest of this.feeds.keys()) {
      if (this.feeds.size <= MAX_FEEDS) break;
      this.feeds.delete(oldest);
    }
    return feed;
  }
}
