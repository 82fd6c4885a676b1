// Prints fields.json: the fields of Kubernetes' built-in kinds, as Kubernetes' own Go types declare them.
//
//	cd toolchain/go/kubernetes && go run ../../plugins/kubernetes/fields.go >../../plugins/kubernetes/fields.json
//
// Stable versions only. OpenAPI cannot serve instead: it does not tell a field that is left out when it is empty from one whose
// emptiness is a value. What the letters mean is said in fields.py, which reads the file.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

var (
	types    = map[string]map[string]string{}
	quantity = reflect.TypeOf(resource.Quantity{})
	encoder  = reflect.TypeOf((*json.Marshaler)(nil)).Elem()
)

func main() {
	kinds := map[string]string{}
	for gvk, kind := range scheme.Scheme.AllKnownTypes() {
		_, named := kind.FieldByName("ObjectMeta")
		stable := !strings.Contains(gvk.Version, "alpha") && !strings.Contains(gvk.Version, "beta")
		if named && stable && gvk.Version != "__internal" {
			kinds[strings.TrimPrefix(gvk.Group+"/"+gvk.Version, "/")+"/"+gvk.Kind] = form(kind)
		}
	}
	fmt.Printf("{\"api\": %q, \"kinds\": {\n", version())
	lines(kinds)
	fmt.Println(`}, "types": {`)
	lines(types)
	fmt.Println(`}}`)
}

// version is that of the module which declares the types.
func version() string {
	if info, known := debug.ReadBuildInfo(); known {
		for _, module := range info.Deps {
			if module.Path == "k8s.io/api" {
				return cmp.Or(module.Replace, module).Version
			}
		}
	}
	panic("built without modules")
}

// lines prints the members of an object, one a line, in order.
func lines[V any](members map[string]V) {
	for i, key := range slices.Sorted(maps.Keys(members)) {
		value, err := json.Marshal(members[key])
		if err != nil {
			panic(err)
		}
		comma := ","
		if i == len(members)-1 {
			comma = ""
		}
		fmt.Printf("%q: %s%s\n", key, value, comma)
	}
}

func form(value reflect.Type) string {
	switch {
	case value == quantity:
		return "q"
	case value.Kind() == reflect.Pointer:
		return form(value.Elem())
	case reflect.PointerTo(value).Implements(encoder):
		return "x"
	}
	switch value.Kind() {
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return "i"
	case reflect.Float32, reflect.Float64:
		return "f"
	case reflect.Slice:
		if value.Elem().Kind() == reflect.Uint8 {
			return "y"
		}
		return "[" + form(value.Elem())
	case reflect.Map:
		return "{" + form(value.Elem())
	case reflect.Struct:
		return name(value)
	}
	return "x"
}

func name(value reflect.Type) string {
	parts := strings.Split(value.PkgPath(), "/")
	label := "." + strings.Join(parts[len(parts)-2:], "/") + "." + value.Name()
	if _, known := types[label]; !known {
		types[label] = map[string]string{}
		collect(value, types[label])
	}
	return label
}

func collect(value reflect.Type, into map[string]string) {
	for i := range value.NumField() {
		field := value.Field(i)
		tag := strings.Split(field.Tag.Get("json"), ",")
		options := strings.Join(tag[1:], " ")
		if field.Anonymous && tag[0] == "" {
			collect(field.Type, into)
			continue
		}
		if tag[0] == "" || tag[0] == "-" {
			continue
		}
		left := ""
		kind := field.Type.Kind()
		if strings.Contains(options, "omitempty") && kind != reflect.Pointer && kind != reflect.Struct {
			left = "?"
		}
		if field.Type == reflect.TypeOf(metav1.Time{}) {
			left = ""
		}
		into[tag[0]] = left + form(field.Type)
	}
}
