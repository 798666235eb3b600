// Sqlcheck reports every statement that CockroachDB's own parser refuses.
//
// It reads the named files, or standard input, and prints "file:line: message" for each refusal.
// Exit status: 0 when all statements parse, 1 when some do not, 2 when a file cannot be read.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/cockroachdb-parser/pkg/sql/parser"
	"github.com/cockroachdb/errors"
)

func main() {
	paths := os.Args[1:]
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	statements, refused := 0, 0
	for _, path := range paths {
		text, err := read(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		count, problems := check(text)
		for _, problem := range problems {
			fmt.Printf("%s:%s\n", path, problem)
		}
		statements += count
		refused += len(problems)
	}
	fmt.Fprintf(os.Stderr, "%d statements, %d refused\n", statements, refused)
	if refused > 0 {
		os.Exit(1)
	}
}

func read(path string) (string, error) {
	if path == "-" {
		text, err := io.ReadAll(os.Stdin)
		return string(text), err
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// check parses statement by statement, so that one refusal does not hide the next.
func check(text string) (count int, problems []string) {
	line := 1
	for text != "" {
		statement, rest := cutFirst(text)
		if _, err := parser.Parse(statement); err != nil {
			at := line + lineOfError(statement, err)
			problems = append(problems, fmt.Sprintf("%d: %s", at, err))
		}
		if hasCode(statement) {
			count++
		}
		line += strings.Count(statement, "\n")
		text = rest
	}
	return count, problems
}

func cutFirst(text string) (statement, rest string) {
	if position, ok := parser.SplitFirstStatement(text); ok {
		return text[:position], text[position:]
	}
	return text, ""
}

// lineOfError counts lines before the mistake. The parser quotes the source from its first code to
// the line of the mistake and draws a caret below it.
func lineOfError(statement string, err error) int {
	line := linesBeforeCode(statement)
	for _, detail := range errors.GetAllDetails(err) {
		if _, quoted, found := strings.Cut(detail, "source SQL:\n"); found {
			toCaret, _, _ := strings.Cut(quoted, "^")
			return line + max(0, strings.Count(toCaret, "\n")-1)
		}
	}
	return line
}

func linesBeforeCode(statement string) int {
	for number, line := range strings.Split(statement, "\n") {
		if isCode(line) {
			return number
		}
	}
	return 0
}

// hasCode is false for comments and blank lines alone.
func hasCode(statement string) bool {
	for _, line := range strings.Split(statement, "\n") {
		if isCode(line) {
			return true
		}
	}
	return false
}

func isCode(line string) bool {
	line = strings.TrimSpace(line)
	return line != "" && line != ";" && !strings.HasPrefix(line, "--")
}
