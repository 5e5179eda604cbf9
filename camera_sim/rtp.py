# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTP for H.264 (RFC 6184, packetization mode 1) and RTCP sender reports (RFC 3550)."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

from camera_sim.media import AccessUnit

CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
MTU = 1400
_NTP_EPOCH = 2_208_988_800


def timestamp(wall_s: float) -> int:
    """The RTP time of a capture time: 90 kHz since the Unix epoch, modulo 2^32."""
    return int(wall_s * CLOCK_HZ) & 0xFFFFFFFF


class Packetizer:
    """One client's RTP stream: its own numbering and source identifier."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.sequence = ssrc & 0xFFFF
        self._packets = 0
        self._octets = 0

    def packets(self, unit: AccessUnit) -> Iterator[bytes]:
        """The RTP packets of one picture; the last has the marker."""
        payloads = [payload for nal in unit.nals for payload in _fragments(nal)]
        at = timestamp(unit.wall_s)
        for n, payload in enumerate(payloads):
            marker = 0x80 if n == len(payloads) - 1 else 0
            yield struct.pack("!BBHII", 0x80, PAYLOAD_TYPE | marker, self.sequence, at, self.ssrc) + payload
            self.sequence = (self.sequence + 1) & 0xFFFF
            self._packets += 1
            self._octets += len(payload)

    def sender_report(self, wall_s: float) -> bytes:
        """A sender report with a name: it ties RTP time to wall time."""
        seconds = int(wall_s)
        fraction = int((wall_s - seconds) * (1 << 32))
        report = struct.pack(
            "!BBHIIIIII",
            0x80,
            200,
            6,
            self.ssrc,
            (seconds + _NTP_EPOCH) & 0xFFFFFFFF,
            fraction,
            timestamp(wall_s),
            self._packets & 0xFFFFFFFF,
            self._octets & 0xFFFFFFFF,
        )
        name = b"\x01\x0acamera-sim\x00"
        name += b"\x00" * (-len(name) % 4)
        return report + struct.pack("!BBHI", 0x81, 202, 1 + len(name) // 4, self.ssrc) + name


def _fragments(nal: bytes) -> Iterator[bytes]:
    """A NAL unit as RTP payloads: whole when it fits, else FU-A fragments."""
    if len(nal) <= MTU:
        yield nal
        return
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 0x1F
    body = nal[1:]
    step = MTU - 2
    for start in range(0, len(body), step):
        first = 0x80 if start == 0 else 0
        last = 0x40 if start + step >= len(body) else 0
        yield bytes((indicator, kind | first | last)) + body[start : start + step]


def describe(unit: AccessUnit, host: str, name: str, fps: float) -> str:
    """The SDP (RFC 8866) of a stream whose keyframe is given."""
    sps = next(n for n in unit.nals if n[0] & 0x1F == 7)
    pps = next(n for n in unit.nals if n[0] & 0x1F == 8)
    sets = ",".join(base64.b64encode(n).decode() for n in (sps, pps))
    lines = [
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        f"s={name}",
        f"c=IN IP4 {host}",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=framerate:{fps:g}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={sps[1:4].hex().upper()};"
        f"sprop-parameter-sets={sets}",
        "a=control:trackID=0",
    ]
    return "\r\n".join(lines) + "\r\n"
