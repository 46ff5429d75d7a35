/** Icons on a 16 px grid in the current text colour. */

import type { ReactNode } from "react";

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg
      className="icon"
      viewBox="0 0 16 16"
      width="16"
      height="16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const EyeIcon = () => (
  <Icon>
    <path d="M1.5 8s2.4-4.5 6.5-4.5S14.5 8 14.5 8s-2.4 4.5-6.5 4.5S1.5 8 1.5 8Z" />
    <circle cx="8" cy="8" r="1.9" />
  </Icon>
);

export const EyeOffIcon = () => (
  <Icon>
    <path d="M2.5 6.5C3.4 8.2 5.4 10 8 10s4.6-1.8 5.5-3.5M4.3 9 3 10.8M11.7 9l1.3 1.8M8 10v2.2" />
  </Icon>
);

export const SearchIcon = () => (
  <Icon>
    <circle cx="7" cy="7" r="4.25" />
    <path d="m10.25 10.25 3.25 3.25" />
  </Icon>
);

export const ExpandIcon = () => (
  <Icon>
    <path d="M9.5 2.5h4v4M6.5 13.5h-4v-4M13.2 2.8 9.5 6.5M2.8 13.2l3.7-3.7" />
  </Icon>
);

export const CloseIcon = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
);

export const WarningIcon = () => (
  <Icon>
    <path d="M8 2.25 14.25 13.5H1.75L8 2.25ZM8 6.5v3.25M8 11.6v.05" />
  </Icon>
);

export const ChevronIcon = () => (
  <Icon>
    <path d="m6 4 4 4-4 4" />
  </Icon>
);

export const UpDownIcon = () => (
  <Icon>
    <path d="m5 6.5 3-3 3 3M5 9.5l3 3 3-3" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon>
    <path d="m3.5 8.5 3 3 6-7" />
  </Icon>
);

export const EditIcon = () => (
  <Icon>
    <path d="M9.8 3.7 12.3 6.2M3 13l.6-2.9 7.2-7.2a1.2 1.2 0 0 1 1.7 0l.6.6a1.2 1.2 0 0 1 0 1.7L5.9 12.4 3 13Z" />
  </Icon>
);

export const TrashIcon = () => (
  <Icon>
    <path d="M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9M6.7 7v4M9.3 7v4" />
  </Icon>
);

export const MenuIcon = () => (
  <Icon>
    <path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11" />
  </Icon>
);

export const CopyIcon = () => (
  <Icon>
    <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
    <path d="M10.5 3.3V3A1.5 1.5 0 0 0 9 1.5H3A1.5 1.5 0 0 0 1.5 3v6A1.5 1.5 0 0 0 3 10.5h.3" />
  </Icon>
);

export const SunIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="2.75" />
    <path d="M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7" />
  </Icon>
);

export const MoonIcon = () => (
  <Icon>
    <path d="M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1Z" />
  </Icon>
);

export const SystemIcon = () => (
  <Icon>
    <circle cx="8" cy="8" r="5.5" />
    <path d="M8 2.5v11a5.5 5.5 0 0 0 0-11Z" fill="currentColor" />
  </Icon>
);

export const PinIcon = () => (
  <Icon>
    <path d="M5.2 2.5h5.6M6 2.5v4L4 9h8l-2-2.5v-4M8 9v4.5" />
  </Icon>
);

export const TableIcon = () => (
  <Icon>
    <rect x="2" y="2.5" width="12" height="11" rx="1.5" />
    <path d="M2 6.5h12M6.5 6.5v7" />
  </Icon>
);

export const ChartIcon = () => (
  <Icon>
    <path d="M2.5 2.5v11h11M5 10.5l2.5-3.5 2.5 2 3.5-5" />
  </Icon>
);

export const FilterIcon = () => (
  <Icon>
    <path d="M2.5 4h11M4.5 8h7M6.5 12h3" />
  </Icon>
);

export const GroupIcon = () => (
  <Icon>
    <circle cx="5" cy="5" r="2.5" />
    <circle cx="11" cy="5" r="2.5" />
    <circle cx="8" cy="10.8" r="2.5" />
  </Icon>
);

export const SettingsIcon = () => (
  <Icon>
    <path d="M2.5 5h5M11.5 5h2M2.5 11h2M8.5 11h5" />
    <circle cx="9.5" cy="5" r="1.75" />
    <circle cx="6.5" cy="11" r="1.75" />
  </Icon>
);

export const BackIcon = () => (
  <Icon>
    <path d="M13 8H3.5M7 4 3 8l4 4" />
  </Icon>
);

export const LogOutIcon = () => (
  <Icon>
    <path d="M6.5 2.5h-3a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3M10 4.8 13.3 8 10 11.2M13 8H6.5" />
  </Icon>
);

export const ColumnsIcon = () => (
  <Icon>
    <rect x="2" y="2.5" width="12" height="11" rx="1.5" />
    <path d="M6 2.5v11M10 2.5v11" />
  </Icon>
);

export const CompareIcon = () => (
  <Icon>
    <path d="M8 2v12M2.5 4.5h3M2.5 8h3M2.5 11.5h3M10.5 4.5h3M10.5 8h3M10.5 11.5h3" />
  </Icon>
);

export const ArrowIcon = () => (
  <Icon>
    <path d="M8 12.5v-9M4.5 7 8 3.5 11.5 7" />
  </Icon>
);

export const DownloadIcon = () => (
  <Icon>
    <path d="M8 2.5v8M4.8 7.5 8 10.7l3.2-3.2M3 13.5h10" />
  </Icon>
);

export const LayersIcon = () => (
  <Icon>
    <path d="m8 2.5 6 3-6 3-6-3 6-3ZM2 8.5l6 3 6-3M2 11.2l6 3 6-3" />
  </Icon>
);

export const LinesIcon = () => (
  <Icon>
    <rect x="2" y="2.5" width="12" height="11" rx="1.5" />
    <path d="m4.5 6 2 2-2 2M8.5 10.5h3" />
  </Icon>
);

export const FileIcon = () => (
  <Icon>
    <path d="M9.5 2H4.5A1 1 0 0 0 3.5 3v10a1 1 0 0 0 1 1h7a1 1 0 0 0 1-1V5l-3-3ZM9.3 2.2v3h3" />
  </Icon>
);

export const FolderIcon = () => (
  <Icon>
    <path d="M2 4.5a1 1 0 0 1 1-1h3.2l1.5 1.7H13a1 1 0 0 1 1 1v5.3a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1v-7Z" />
  </Icon>
);
