"""The shipper: the process that sends spools to the server, one per host and user.

reader           parses segment files into records, trusting only checksums
columns          turns rows into the wire's frames (numpy is used here, not in the training process)
gather           collects the records of one batch
cuts             records on disk, once, which range of the spool is batch n
batches          builds the bytes of a cut, always the same
mending          loads a spool's cuts and progress, repairing damage
open_spool       what the stages of a sender share
sender           drives one spool through its stages, and releases what is delivered
collector        stage 1: cuts the records into batches
transmitter      stage 2: sends batches and asks for the writer's position (with retries)
outcomes         stage 3: takes in replies and refusals
delivery         how far a spool is delivered: the one state machine that changes its progress
replies          the server's reply about one writer, checked
refusals         decides what a permanent refusal means for a batch
rejects          keeps batches that the server refused or could not process
report           writes progress and reports problems once
retention        deletes segments some time after they are committed
circuit_breaker  limits requests to a failing server
heartbeats       tells the server which runs are alive
election         makes one process the shipper of a root
daemon           loops over all spools of a root
"""
