"""The embedded queue's file on disk: what it holds, how far it is sound, and how it is repaired."""
