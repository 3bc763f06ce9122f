// Why a call failed, for programs: the google.rpc.ErrorInfo among the details of an error.
import protobuf from 'protobufjs';

// What is needed here of google/rpc/status.proto and error_details.proto, and of google.protobuf.Any.
const { root } = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`);
const Status = root.lookupType('google.rpc.Status');
const ErrorInfo = root.lookupType('google.rpc.ErrorInfo');

// {reason, domain, metadata}, with a reason out of the list in docs/errors.md; undefined where the
// error is gRPC's own.
export function errorInfo(error) {
  const [encoded] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = encoded ? Status.decode(encoded).details : [];
  const found = details.find((each) => each.typeUrl.endsWith('/google.rpc.ErrorInfo'));
  return found && ErrorInfo.decode(found.value);
}
