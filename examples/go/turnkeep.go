package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	turnkeep "turnkeep-example/gen/turnkeep/v1"
)

// UNAVAILABLE is the one status that is safe to send again, because every request that stores
// something has a request_id: it is one turn however often it is sent. gRPC does it by itself, up to
// a stream's first message.
const serviceConfig = `{
  "methodConfig": [{
    "name": [{"service": "turnkeep.v1.ConversationService"}],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.2s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

// connect makes the client and the connection under it, which the caller closes. Nothing is dialled
// before the first call.
func connect(address string) (turnkeep.ConversationServiceClient, *grpc.ClientConn, error) {
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // credentials.NewTLS in production
		grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		return nil, nil, err
	}
	return turnkeep.NewConversationServiceClient(connection), connection, nil
}

// stream runs one turn and hands its text on as it comes. The answer is durable when this returns
// it. Cancelling ctx stops the model; the turn is kept as CANCELLED with the text so far.
func stream(ctx context.Context, client turnkeep.ConversationServiceClient,
	request *turnkeep.ChatRequest, text func(string)) (*turnkeep.ChatResponse, error) {
	events, err := client.StreamChat(ctx, request)
	if err != nil {
		return nil, err
	}
	for {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF // no reply was stored: the same request may be sent again
		} else if err != nil {
			return nil, err
		}
		if delta := event.GetDelta(); delta != nil {
			text(delta.Text)
		} else if completed := event.GetCompleted(); completed != nil {
			return completed, nil
		}
	}
}

// everything is all of a session's messages, page by page, those of failed and cancelled turns too.
func everything(ctx context.Context, client turnkeep.ConversationServiceClient,
	sessionID string) ([]*turnkeep.Message, error) {
	var found []*turnkeep.Message
	request := &turnkeep.ListMessagesRequest{
		SessionId: sessionID, PageSize: 3, IncludeUnfinished: true,
	}
	for {
		page, err := client.ListMessages(ctx, request)
		if err != nil {
			return nil, err
		}
		found = append(found, page.Messages...)
		if page.NextPageToken == "" {
			return found, nil
		}
		request.PageToken = page.NextPageToken
	}
}

// errorInfo is why a call failed, for programs: a reason out of the list in docs/errors.md. Nil
// where the error is gRPC's own.
func errorInfo(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}
