"""Clients of the model servers: each request returns the revision that answered it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import aiohttp
import grpc
import grpc.aio
from openai import AsyncOpenAI
from yarl import URL

from celadon.stack.addresses import StackAddresses
from tests.servers.open_inference import ModelInferRequest, ModelInferResponse
from tests.servers.steady_load import ANSWER_SECONDS, Ask

MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"


class Client:
    """A client of one deployment behind a router, which keeps its connections."""

    def __init__(self, name: str, addresses: StackAddresses, session: aiohttp.ClientSession) -> None:
        """Address the deployment by the path ``/NAME`` and, for gRPC, by the authority ``NAME``."""
        self.url = f"{addresses.router}/{name}"
        self.session = session
        router = URL(addresses.router)
        self.channel = grpc.aio.insecure_channel(
            f"{router.host}:{router.port}", options=(("grpc.default_authority", name),)
        )
        # Answered once or lost: the client repeats no request by itself.
        self.openai = AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=ANSWER_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        await self.channel.close()
        await self.openai.close()

    async def completion(self) -> str:
        """Ask a server in the way of OpenAI, for a stream of eight tokens."""
        stream = await self.openai.completions.create(model="any", prompt="hello", max_tokens=8, stream=True)
        chunks = [chunk async for chunk in stream]
        if not chunks or not chunks[-1].choices[0].finish_reason:
            raise ValueError(f"the stream ended after {len(chunks)} chunks, before its end")
        return chunks[-1].model

    async def litserve(self) -> str:
        """Ask LitServe."""
        return str((await self._post("/predict", {"number": 21}))["revision"])

    async def bentoml(self) -> str:
        """Ask BentoML."""
        return str((await self._post("/double", {"number": 21}))["revision"])

    async def ray_serve(self) -> str:
        """Ask Ray Serve."""
        return str((await self._post("/", {"number": 21}))["revision"])

    async def v1_rest(self) -> str:
        """Ask a server by the V1 inference protocol."""
        return str((await self._post("/v1/models/echo:predict", {"instances": ["hello"]}))["predictions"][0])

    async def v2_rest(self) -> str:
        """Ask a server by the V2 inference protocol, over REST."""
        said = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["hello"]}
        answer = await self._post("/v2/models/echo/infer", {"inputs": [said]})
        return str(answer["outputs"][0]["data"][0])

    async def v2_grpc(self) -> str:
        """Ask a server by the V2 inference protocol, over gRPC."""
        request = ModelInferRequest(model_name="echo")
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(b"hello")
        call = self.channel.unary_unary(
            MODEL_INFER,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )
        answer: Any = await call(request)
        return bytes(answer.outputs[0].contents.bytes_contents[0]).decode()

    async def _post(self, path: str, body: object) -> Any:
        async with self.session.post(f"{self.url}{path}", json=body) as answer:
            text = await answer.text()
            if not answer.ok:
                raise ValueError(f"{answer.status}: {text}")
            return await answer.json()


ASKS: Final[Mapping[str, Callable[[Client], dict[str, Ask]]]] = MappingProxyType(
    {
        "litserve": lambda client: {"REST": client.litserve},
        "mlserver": lambda client: {"REST": client.v2_rest, "gRPC": client.v2_grpc},
        "bentoml": lambda client: {"REST": client.bentoml},
        "llama.cpp": lambda client: {"stream": client.completion},
        "kserve": lambda client: {"V1": client.v1_rest, "REST": client.v2_rest, "gRPC": client.v2_grpc},
        "ray-serve": lambda client: {"REST": client.ray_serve},
    }
)
"""How each server is asked, by the name of its directory below ``models``."""
