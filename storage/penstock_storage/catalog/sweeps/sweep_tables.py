"""The catalog's tables of sweeps: sweeps, agents and trials."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from penstock_storage.catalog.tables import Json, metadata

__all__ = ["agents", "sweeps", "trials"]

# SQLite numbers rows automatically only if the key is a plain INTEGER.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

sweeps = Table(
    "sweeps",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("project", ForeignKey("projects.number"), nullable=False),
    Column("sweep", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("source", Text, nullable=False),
    Column("goal", String(16), nullable=False),
    Column("drawn", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
    UniqueConstraint("project", "sweep"),
    sqlite_autoincrement=True,
)

agents = Table(
    "sweep_agents",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("agent", String(64), nullable=False, unique=True),
    Column("sweep", ForeignKey("sweeps.number"), nullable=False, index=True),
    Column("host", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Found by agent, by expired lease, by state, and by value.
trials = Table(
    "trials",
    metadata,
    Column("sweep", ForeignKey("sweeps.number"), primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("run", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("agent", ForeignKey("sweep_agents.number"), nullable=False),
    Column("handed", Integer, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("stop", Boolean, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("point", Json, nullable=False),
    Column("value", Float(53), nullable=True),
    Column("rungs", Json, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    UniqueConstraint("sweep", "run"),
    Index("trials_by_agent", "agent", "state"),
    Index("trials_by_lease", "sweep", "state", "lease_until"),
    Index("trials_by_value", "sweep", "value"),
)
