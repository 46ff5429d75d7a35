/** The mark: a pipe that falls to a turbine, which is what a penstock is. */

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 24 24" width="22" height="22" fill="none" aria-hidden="true">
      <path className="mark-pipe" d="M2.5 5.5h4.200c1 0 1.900.4 2.5 1.200l3.600 4.400" />
      <circle className="mark-ring" cx="16.5" cy="15.7" r="5.3" />
      <path
        className="mark-blade"
        d="M16.5 15.7c0-2 .7-3 2.200-3.400M16.5 15.7c1.7 1 2.3 2.100 1.800 3.600M16.5 15.7c-1.7 1-3 .9-4-.3"
      />
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
