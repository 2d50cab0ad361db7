package names_test

import (
	"fmt"

	"github.com/localbench/localbench/names"
)

func ExampleFind() {
	_, err := names.Find("network", "ResNet32", []string{"resnet20", "resnet32"}, func(s string) string { return s })
	fmt.Println(err)
	// Output: unknown network "ResNet32": did you mean "resnet32"? Known: resnet20, resnet32
}
