// A tour of Turnkeep from Go, with a client made from the proto alone.
//
//	go generate                        # once; needs buf, go.mod has the generators
//	go run . 127.0.0.1:50051 my-session
package main

//go:generate buf generate ../../protos

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/signal"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	turnkeep "turnkeep-example/gen/turnkeep/v1"
)

func main() {
	arguments := append(os.Args[1:], "127.0.0.1:50051", "go-tour")[:2]
	// ctrl-C cancels the call under way; the server stops the model and keeps what was said.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := tour(ctx, arguments[0], arguments[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err, errorInfo(err))
		os.Exit(1)
	}
}

func tour(ctx context.Context, address, sessionID string) error {
	client, connection, err := connect(address)
	if err != nil {
		return err
	}
	defer connection.Close()
	// One deadline for all; a service gives each call its own. Without any, a call may wait for ever.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	cleared, err := client.ClearSession(ctx, &turnkeep.ClearSessionRequest{SessionId: sessionID})
	if err != nil {
		return err
	}
	fmt.Println("ClearSession:", cleared.ClearedMessages, "messages forgotten")

	answer, err := client.Chat(ctx, ask(sessionID, "Привет! Меня зовут Виктор 👋"))
	if err != nil {
		return err
	}
	fmt.Println("Chat:", answer.Message.Text)

	fmt.Print("StreamChat: ")
	answer, err = stream(ctx, client, ask(sessionID, "你还记得我叫什么吗?"), func(text string) {
		fmt.Print(text)
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n  turn %d is stored, %d tokens\n", answer.Sequence, answer.Usage.GetTotalTokens())

	wrong := ask(sessionID, "Привет")
	wrong.Prompt = "no-such-prompt"
	_, err = client.Chat(ctx, wrong)
	info := errorInfo(err)
	if info == nil {
		return fmt.Errorf("no error of Turnkeep's: %w", err)
	}
	fmt.Printf("Error: %s: %s from %s\n", status.Code(err), info.Reason, info.Domain)

	if err := hangUp(ctx, client, sessionID); err != nil {
		return err
	}

	// Waits, as Chat would, until the turn that was just cancelled has ended.
	added, err := client.AddMessages(ctx, &turnkeep.AddMessagesRequest{
		SessionId: sessionID,
		RequestId: rand.Text(),
		Messages: []*turnkeep.Message{
			{Role: turnkeep.Role_ROLE_USER, Text: "كم الساعة الآن؟"},
			{Role: turnkeep.Role_ROLE_ASSISTANT, Text: "الثالثة ظهراً 🕒"},
		},
	})
	if err != nil {
		return err
	}
	fmt.Printf("AddMessages: %d messages are turn %d\n", len(added.Messages), added.Sequence)

	messages, err := everything(ctx, client, sessionID)
	if err != nil {
		return err
	}
	fmt.Println("ListMessages:")
	for _, each := range messages {
		fmt.Printf("  %d %s %s %s\n", each.Sequence, each.Status, each.Role, each.Text)
	}
	return nil
}

// ask makes the request of one turn. Its request_id is made once, here, and goes with each attempt.
func ask(sessionID, text string) *turnkeep.ChatRequest {
	return &turnkeep.ChatRequest{
		SessionId: sessionID,
		RequestId: rand.Text(),
		Input:     &turnkeep.ChatRequest_Text{Text: text},
	}
}

// hangUp cancels a turn after its third piece of text, as ctrl-C would.
func hangUp(ctx context.Context, client turnkeep.ConversationServiceClient, sessionID string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var pieces int
	fmt.Print("Cancel: ")
	_, err := stream(ctx, client, ask(sessionID, "Расскажи длинную историю 🐘"), func(text string) {
		fmt.Print(text)
		if pieces++; pieces == 3 {
			cancel()
		}
	})
	if err != nil && status.Code(err) != codes.Canceled { // nil: a fast model was done before
		return err
	}
	fmt.Println()
	return nil
}
