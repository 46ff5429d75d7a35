/** The logo: a pipe that leads down to a turbine, which is what a penstock is. */

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 24 24" width="22" height="22" fill="none" aria-hidden="true">
      <path className="mark-pipe" d="M2.5 5h4.2c1.1 0 2.1.5 2.8 1.3l3.3 4.2" />
      <circle className="mark-ring" cx="16" cy="15.5" r="5.4" />
      <circle className="mark-hub" cx="16" cy="15.5" r="1.7" />
    </svg>
  );
}

export function Wordmark() {
  return (
    <span className="wordmark">
      <Mark />
      Penstock
    </span>
  );
}
