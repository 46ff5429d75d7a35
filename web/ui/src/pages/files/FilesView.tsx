/** The files of a run as a tree, and a preview of the selected one. */

import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { filesQuery, fileUrl } from "../../api/media";
import type { FileOfRun, ProjectRef } from "../../api/types";
import { matcher } from "../../state/search";
import { baseName, formatBytes } from "../../util/files";
import { formatStep } from "../../util/format";
import { ChevronIcon, DownloadIcon, FileIcon, FolderIcon } from "../../widgets/icons";
import { Loading } from "../../widgets/Loading";
import { Problem } from "../../widgets/Problem";
import { SearchBox } from "../../widgets/SearchBox";
import { Preview } from "./Preview";
import { type Folder, toTree } from "./tree";

const POLL_MS = 5_000;
/** Folders with more files start collapsed. */
const MANY_FILES = 30;

interface Props {
  project: ProjectRef;
  run: string;
  state: string;
}

export default function FilesView({ project, run, state }: Props) {
  const known = useQuery({
    ...filesQuery(project, run),
    refetchInterval: state === "running" ? POLL_MS : false,
  });
  const [search, setSearch] = useState("");
  const [chosen, choose] = useState<string | null>(null);
  const files = known.data;
  const found = useMemo(() => {
    const isMatch = matcher(search);
    return (files ?? []).filter(({ name }) => isMatch(name));
  }, [files, search]);
  const tree = useMemo(() => toTree(found), [found]);
  if (known.error && !files) {
    return <Problem error={known.error} onRetry={() => void known.refetch()} />;
  }
  if (!files) return <Loading />;
  if (files.length === 0) return <NoFiles isLive={state === "running"} />;
  const file = files.find(({ name }) => name === chosen);
  return (
    <section className={file ? "files has-preview" : "files"} aria-label="Files">
      <div className="files-list">
        <div className="files-bar">
          <SearchBox
            name="files"
            label="Search files"
            placeholder="Search files"
            shortcut="/"
            value={search}
            onChange={setSearch}
          />
          <span className="count">
            {formatStep(tree.count)} · {formatBytes(tree.bytes)}
          </span>
        </div>
        {found.length === 0 ? (
          <p className="files-none">No matches.</p>
        ) : (
          <div className="files-tree">
            <FolderView
              folder={tree}
              chosen={chosen}
              onChoose={choose}
              project={project}
              run={run}
              isOpen={search !== ""}
            />
          </div>
        )}
      </div>
      {file && (
        <Preview
          key={`${file.name} ${file.sha256}`}
          project={project}
          run={run}
          file={file}
          onClose={() => choose(null)}
        />
      )}
    </section>
  );
}

function NoFiles({ isLive }: { isLive: boolean }) {
  return (
    <div className="note">
      <h2>No files</h2>
      <p>
        {isLive
          ? "Files appear here as they are uploaded."
          : "No files were uploaded for this run."}
      </p>
    </div>
  );
}

interface FolderProps {
  folder: Folder;
  chosen: string | null;
  onChoose(name: string): void;
  project: ProjectRef;
  run: string;
  /** While searching, all folders are open. */
  isOpen: boolean;
}

function FolderView({ folder, ...rest }: FolderProps) {
  return (
    <ul>
      {folder.folders.map((inner) => (
        <li key={inner.path}>
          <FolderRow folder={inner} {...rest} />
        </li>
      ))}
      {folder.files.map((file) => (
        <li key={file.name}>
          <FileRow file={file} {...rest} />
        </li>
      ))}
    </ul>
  );
}

function FolderRow({ folder, ...rest }: FolderProps) {
  const [wasOpened, setOpened] = useState(folder.count <= MANY_FILES);
  const isOpen = rest.isOpen || wasOpened;
  return (
    <>
      <button
        type="button"
        className="file-row"
        aria-expanded={isOpen}
        onClick={() => setOpened(!wasOpened)}
      >
        <ChevronIcon />
        <FolderIcon />
        <span className="file-name">{folder.name}</span>
        <span className="count">{formatStep(folder.count)}</span>
        <span className="file-size">{formatBytes(folder.bytes)}</span>
      </button>
      {isOpen && <FolderView folder={folder} {...rest} />}
    </>
  );
}

type FileRowProps = Omit<FolderProps, "folder" | "isOpen"> & { file: FileOfRun };

function FileRow({ file, chosen, onChoose, project, run }: FileRowProps) {
  const name = baseName(file.name);
  return (
    <div className={file.name === chosen ? "file-line is-chosen" : "file-line"}>
      <button
        type="button"
        className="file-row is-file"
        title={file.name}
        aria-pressed={file.name === chosen}
        onClick={() => onChoose(file.name)}
      >
        <FileIcon />
        <span className="file-name">{name}</span>
        <span className="file-size">{formatBytes(file.size_bytes)}</span>
      </button>
      <a
        className="icon-button"
        href={fileUrl(project, run, file.name, { isDownload: true })}
        aria-label={`Download ${name}`}
        title="Download"
      >
        <DownloadIcon />
      </a>
    </div>
  );
}
