"""JobService over gRPC, with the (de)serializers of the client library.

A caller authenticates with a token that the service account signed, or that this cloud issued for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from google.cloud.aiplatform_v1.types import (
    CancelCustomJobRequest,
    CreateCustomJobRequest,
    CustomJob,
    DeleteCustomJobRequest,
    GetCustomJobRequest,
    ListCustomJobsRequest,
    ListCustomJobsResponse,
)
from google.cloud.location import locations_pb2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from emulators.vertex.faults import Faults
from emulators.vertex.jobs import Jobs, RequestError
from emulators.vertex.runner import Runner

SERVICE = "google.cloud.aiplatform.v1.JobService"
LOCATIONS = "google.cloud.location.Locations"
_THREADS = 16


class Service:
    """The methods for custom jobs and locations.

    Args:
        jobs: the store of jobs.
        runner: runs the jobs.
        faults: faults to inject.
        accepts_token: tests a bearer token.
        project: id of the only project.
        locations: the existing regions.
    """

    def __init__(
        self,
        *,
        jobs: Jobs,
        runner: Runner,
        faults: Faults,
        accepts_token: Callable[[str], bool],
        project: str,
        locations: tuple[str, ...],
    ) -> None:
        self._jobs, self._runner, self._faults = jobs, runner, faults
        self._accepts_token, self._project, self._locations = accepts_token, project, locations

    def create(self, request: CreateCustomJobRequest) -> CustomJob:
        """Answer CreateCustomJob; there is no request id, so a repeated call creates another job."""
        self._check_parent(request.parent)
        job = self._jobs.create(request.parent, request.custom_job, self._faults.lag_seconds)
        self._runner.begin(job)
        return job

    def get(self, request: GetCustomJobRequest) -> CustomJob:
        """Answer GetCustomJob."""
        return self._jobs.get(request.name)

    def listing(self, request: ListCustomJobsRequest) -> ListCustomJobsResponse:
        """Answer ListCustomJobs, with filter and pages."""
        self._check_parent(request.parent)
        jobs, token = self._jobs.page(request.parent, request.filter, request.page_size, request.page_token)
        return ListCustomJobsResponse(custom_jobs=jobs, next_page_token=token)

    def cancel(self, request: CancelCustomJobRequest) -> empty_pb2.Empty:
        """Answer CancelCustomJob: request the end; success is not guaranteed, so clients poll the state."""
        self._jobs.get(request.name)
        self._runner.cancel(request.name)
        return empty_pb2.Empty()

    def delete(self, request: DeleteCustomJobRequest) -> operations_pb2.Operation:
        """Answer DeleteCustomJob with an operation that is already done."""
        self._jobs.delete(request.name)
        operation = operations_pb2.Operation(name=f"{request.name}/operations/1", done=True)
        operation.response.Pack(empty_pb2.Empty())
        return operation

    def location(self, request: locations_pb2.GetLocationRequest) -> locations_pb2.Location:
        """Answer GetLocation."""
        self._check_parent(request.name)
        return locations_pb2.Location(name=request.name, location_id=request.name.rpartition("/")[2])

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the services for a gRPC server."""
        serialize = {CustomJob: CustomJob.serialize, ListCustomJobsResponse: ListCustomJobsResponse.serialize}
        methods = {
            "CreateCustomJob": (self.create, CreateCustomJobRequest, CustomJob),
            "GetCustomJob": (self.get, GetCustomJobRequest, CustomJob),
            "ListCustomJobs": (self.listing, ListCustomJobsRequest, ListCustomJobsResponse),
            "CancelCustomJob": (self.cancel, CancelCustomJobRequest, None),
            "DeleteCustomJob": (self.delete, DeleteCustomJobRequest, None),
        }
        jobs = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(name, method),
                request_deserializer=request.deserialize,
                response_serializer=serialize.get(response, lambda message: message.SerializeToString()),
            )
            for name, (method, request, response) in methods.items()
        }
        location = grpc.unary_unary_rpc_method_handler(
            self._guarded("GetLocation", self.location),
            request_deserializer=locations_pb2.GetLocationRequest.FromString,
            response_serializer=locations_pb2.Location.SerializeToString,
        )
        return [
            grpc.method_handlers_generic_handler(SERVICE, jobs),
            grpc.method_handlers_generic_handler(LOCATIONS, {"GetLocation": location}),
        ]

    def _guarded(self, name: str, method: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            injected = self._faults.take_error(name)
            if injected is not None and not injected.executed:
                context.abort(injected.code, injected.message)
            bearer = dict(context.invocation_metadata()).get("authorization", "")
            if not self._accepts_token(str(bearer).removeprefix("Bearer ")):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials.")
            try:
                result = method(request)
            except RequestError as error:
                context.abort(error.code, error.message)
            if injected is not None:
                context.abort(injected.code, injected.message)
            return result

        return answer

    def _check_parent(self, name: str) -> None:
        parts = name.split("/")
        if len(parts) < 4 or parts[:2] != ["projects", self._project]:
            message = f"Permission denied on resource project {name.split('/')[1] if len(parts) > 1 else name}."
            raise RequestError(grpc.StatusCode.PERMISSION_DENIED, message)
        if parts[3] not in self._locations:
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Location {parts[3]} is not found.")


def listen(service: Service, keys: tuple[bytes, bytes], port: int = 0) -> tuple[grpc.Server, int]:
    """Serve on localhost with TLS; returns the started server and its port.

    Raises:
        RuntimeError: the port is taken.
    """
    server = grpc.server(futures.ThreadPoolExecutor(_THREADS), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(service.handlers())
    port = server.add_secure_port(f"localhost:{port}", grpc.ssl_server_credentials([keys]))
    server.start()
    return server, port
