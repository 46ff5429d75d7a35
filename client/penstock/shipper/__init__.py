"""The process that sends spools to the server: one per host and user, outliving the training.

reader           segment files to records, trusting only checksums
columns          rows to the wire's frames (numpy lives here, not in the training process)
gather           one batch's worth of records
cuts             which range of the spool is batch n, decided once and kept on disk
batches          the bytes of a cut, always the same
mending          what is known of a spool when it is taken up, whatever is damaged
sender           one spool: cut, send, learn what is committed, free
positions        what replies say of queue and store
refusals         what a final refusal means for a batch
rejects          what the server refused, kept for a person
report           progress and problems, told once
retention        how long segments are kept
circuit_breaker  when a server may be called
heartbeats       where idle spools stand
election         who is the shipper of a root
daemon           the loop over all spools of a root
"""
