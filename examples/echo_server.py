"""An echo server that talks to authenticated peers only.

python -m examples.echo_server --secret secret.bin 7000
"""

import argparse
import asyncio

from examples.arguments import add_credentials, credentials
from tcpcryptd.authenticate import AuthenticationFailed, Credentials, Role, async_authenticate
from tcpcryptd.sockopt import NotEncrypted

CHUNK = 65536


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: Credentials) -> None:
    """One connection."""
    peer = writer.get_extra_info("peername")
    try:
        known = await async_authenticate(reader, writer, own, Role.SERVER)
        print(f"{peer}: authenticated, session {known.session_id.hex()}", flush=True)
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except (NotEncrypted, AuthenticationFailed, OSError) as error:
        print(f"{peer}: {error}", flush=True)
    finally:
        writer.close()


async def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description="echo server with authentication of the tcpcrypt session")
    add_credentials(parser)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    own = credentials(arguments)
    server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, own), None, arguments.port)
    print(f"listening on port {arguments.port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
