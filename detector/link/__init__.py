# SPDX-License-Identifier: AGPL-3.0-or-later
"""The way to the server: a durable outbox, its publisher, the messages, and the server's time."""
