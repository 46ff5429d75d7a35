"""The process that sends spools to the server: one per host and user, outliving the training.

reader   segment files to records, trusting only checksums
columns  rows to the wire's frames (numpy lives here, not in the training process)
cuts     which range of the spool is batch n, decided once and kept on disk
sender   one spool: cut, send, learn what is committed, free
link     HTTP to one server
daemon   the election and the loop over all spools of a root
"""
