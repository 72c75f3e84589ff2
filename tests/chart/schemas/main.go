// Command schemas writes JSON schemas for kubeconform, without any download: of Kubernetes' own kinds from the
// OpenAPI documents in the k8s.io/kubernetes module, of Easel's kinds from the chart's CRDs. Unlike the API
// server's, these schemas are strict: a field that is not known is an error.
//
//	schemas OPENAPI_FOLDER CRD_FOLDER OUT_FOLDER
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// groups are the documents with the kinds that charts use.
var groups = []string{
	"api__v1", "apis__apps__v1", "apis__batch__v1", "apis__policy__v1", "apis__apiextensions.k8s.io__v1",
	"apis__networking.k8s.io__v1", "apis__rbac.authorization.k8s.io__v1",
}

const (
	componentPrefix  = "#/components/schemas/"
	definitionPrefix = "#/definitions/"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: schemas OPENAPI_FOLDER CRD_FOLDER OUT_FOLDER")
	}
	openapi, crds, out := args[0], args[1], args[2]
	for _, group := range groups {
		if err := fromOpenAPI(filepath.Join(openapi, group+"_openapi.json"), out); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in %s: %w", crds, err)
	}
	for _, file := range files {
		if err := fromCRD(file, out); err != nil {
			return err
		}
	}
	return nil
}

type object = map[string]any

// fromOpenAPI writes a schema for each kind of a document, with all that it refers to.
func fromOpenAPI(file, out string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("OpenAPI document: %w", err)
	}
	var document struct {
		Components struct {
			Schemas map[string]object `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	all := document.Components.Schemas
	for _, schema := range all {
		strict(schema)
	}
	for name, schema := range all {
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		// Types such as DeleteOptions belong to every group.
		if len(kinds) != 1 {
			continue
		}
		kind, ok := kinds[0].(object)
		if !ok {
			return fmt.Errorf("%s: %s has no group, version and kind", file, name)
		}
		definitions := object{}
		collect(schema, all, definitions)
		complete := object{"definitions": definitions}
		for key, value := range schema {
			complete[key] = value
		}
		if err := write(out, textOf(kind, "kind"), textOf(kind, "group"), textOf(kind, "version"), complete); err != nil {
			return err
		}
	}
	return nil
}

func textOf(kind object, key string) string {
	text, _ := kind[key].(string)
	return text
}

// collect puts what value refers to into definitions.
func collect(value any, all map[string]object, definitions object) {
	switch typed := value.(type) {
	case object:
		if reference, ok := typed["$ref"].(string); ok {
			name := strings.TrimPrefix(reference, definitionPrefix)
			if _, known := definitions[name]; !known {
				definitions[name] = all[name]
				collect(all[name], all, definitions)
			}
		}
		for _, inner := range typed {
			collect(inner, all, definitions)
		}
	case []any:
		for _, inner := range typed {
			collect(inner, all, definitions)
		}
	}
}

// strict refuses unknown fields in value and below, and turns its references into ones inside the file.
func strict(value any) {
	switch typed := value.(type) {
	case object:
		if reference, ok := typed["$ref"].(string); ok {
			typed["$ref"] = strings.Replace(reference, componentPrefix, definitionPrefix, 1)
		}
		_, properties := typed["properties"].(object)
		_, additional := typed["additionalProperties"]
		open, _ := typed["x-kubernetes-preserve-unknown-fields"].(bool)
		if properties && !additional && !open {
			typed["additionalProperties"] = false
		}
		for _, inner := range typed {
			strict(inner)
		}
	case []any:
		for _, inner := range typed {
			strict(inner)
		}
	}
}

// fromCRD writes the schema of each version of a CRD.
func fromCRD(file, out string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("CRD: %w", err)
	}
	var crd struct {
		Spec struct {
			Group string `json:"group"`
			Names struct {
				Kind string `json:"kind"`
			} `json:"names"`
			Versions []struct {
				Name   string `json:"name"`
				Schema struct {
					OpenAPIV3Schema object `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, version := range crd.Spec.Versions {
		schema := version.Schema.OpenAPIV3Schema
		strict(schema)
		properties, ok := schema["properties"].(object)
		if !ok {
			return fmt.Errorf("%s: version %s has no properties", file, version.Name)
		}
		properties["apiVersion"] = object{"type": "string"}
		properties["kind"] = object{"type": "string"}
		properties["metadata"] = object{"type": "object"}
		if err := write(out, crd.Spec.Names.Kind, crd.Spec.Group, version.Name, schema); err != nil {
			return err
		}
	}
	return nil
}

// write names the file as kubeconform's {{ .ResourceKind }}{{ .KindSuffix }} does.
func write(out, kind, group, version string, schema object) error {
	name := strings.ToLower(kind)
	if group != "" {
		name += "-" + strings.Split(group, ".")[0]
	}
	file := filepath.Join(out, name+"-"+strings.ToLower(version)+".json")
	text, err := json.Marshal(schema)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	return nil
}
