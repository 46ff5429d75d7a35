"""Artifacts in the catalog: everything about them, in one place to hand around."""

from __future__ import annotations

from penstock_storage.catalog.artifact_collections import ArtifactCollections
from penstock_storage.catalog.artifact_files import ArtifactFiles
from penstock_storage.catalog.artifact_members import ArtifactMembers
from penstock_storage.catalog.artifact_versions import ArtifactVersions
from penstock_storage.catalog.database import Database

__all__ = ["Artifacts"]


class Artifacts:
    """Collections, their members, versions, and the files of these."""

    def __init__(self, database: Database) -> None:
        self.collections = ArtifactCollections(database)
        self.members = ArtifactMembers(database)
        self.versions = ArtifactVersions(database)
        self.files = ArtifactFiles(database)
