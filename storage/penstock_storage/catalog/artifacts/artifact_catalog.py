"""Artifacts in the catalog: all of their parts in one object."""

from __future__ import annotations

from penstock_storage.catalog.artifacts.artifact_collections import ArtifactCollectionCatalog
from penstock_storage.catalog.artifacts.artifact_files import ArtifactFileCatalog
from penstock_storage.catalog.artifacts.artifact_members import ArtifactMemberCatalog
from penstock_storage.catalog.artifacts.artifact_versions import ArtifactVersionCatalog
from penstock_storage.catalog.database import Database

__all__ = ["Artifacts"]


class Artifacts:
    """Collections, their members, versions, and files."""

    def __init__(self, database: Database) -> None:
        self.collections = ArtifactCollectionCatalog(database)
        self.members = ArtifactMemberCatalog(database)
        self.versions = ArtifactVersionCatalog(database)
        self.files = ArtifactFileCatalog(database)
